// What the page asks of the HTTP API: which models there are, a photo restored, how far it is.

const KEY = "deblur-key";
const UNREACHABLE = "Check the connection, then try again.";

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: text => text ? sessionStorage.setItem(KEY, text) : sessionStorage.removeItem(KEY),
};

/** What went wrong, as sentences. `status` is 0 where nobody answered. */
export class Problem extends Error {
  constructor(status, title, detail, retryAfter = 2) {
    super(detail);
    Object.assign(this, {status, title, retryAfter});
  }

  /** Whether the same photo may go through another time. */
  get passes() { return [0, 408].includes(this.status) || this.status >= 500; }
}

function login() {  // as `deblur serve` wants it, and as Azure does
  return key.get() ? {"Authorization": `Bearer ${key.get()}`, "x-functions-key": key.get()} : {};
}

/** Which models there are and what is allowed; nothing where the service does not answer now. */
export async function about() {
  const answer = await fetch("api/models", {headers: login()}).catch(() => null);
  return answer?.ok ? answer.json() : {models: [], limits: {}, key: null, seconds_per_megapixel: null};
}

/** {done, total} in tiles; null where the service does not say. */
export async function progress(id) {
  const answer = await fetch(`api/progress/${id}`, {headers: login()}).catch(() => null);
  return answer?.ok ? answer.json() : null;
}

/** Sends a photo. `options` go into the query, `sent` is told the share that has left. -> {blob, header(name)} */
export function restore(photo, options, sent, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();  // fetch tells nothing of an upload's progress
    request.open("POST", `api/deblur?${new URLSearchParams(options)}`);
    request.responseType = "blob";
    for (const [name, value] of Object.entries({"Content-Type": "application/octet-stream", ...login()})) {
      request.setRequestHeader(name, value);
    }
    request.upload.onprogress = event => sent(event.loaded / event.total);
    request.upload.onload = () => sent(1);
    request.onerror = () => reject(new Problem(0, "The service cannot be reached", UNREACHABLE));
    request.onabort = () => reject(new Problem(0, "Stopped", ""));
    request.onload = async () => {
      const header = name => request.getResponseHeader(name);
      if (request.status === 200) resolve({blob: request.response, header});
      else reject(await problemOf(request.status, request.response, header("Retry-After")));
    };
    signal.addEventListener("abort", () => request.abort());
    request.send(photo);
  });
}

async function problemOf(status, body, retryAfter) {
  if (status === 401) return new Problem(status, "This service needs a key", "Enter it above, and this photo is sent.");
  let said = {};
  try { said = JSON.parse(await body.text()); } catch { /* a proxy's own page */ }
  const detail = said.detail ?? `The service answered ${status}. Try again, or ask whoever runs it.`;
  return new Problem(status, said.title ?? "That did not work", detail, Number(retryAfter) || undefined);
}
