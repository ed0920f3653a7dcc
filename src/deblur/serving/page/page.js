// The photos of this tab, each with its state, and what a person sees of the one that is chosen.
// waiting -> sending -> restoring -> done or failed; one after another, as the service works.

import * as service from "./service.js";
import {Viewer} from "./viewer.js";

const TRIES = 20, POLL_MS = 400, REVEAL_MS = 700, THUMB_PX = 144, SENDING = 0.3;  // its share of the progress bar
const ENDINGS = {"image/jpeg": "jpg", "image/tiff": "tif"};  // where it is not what follows the slash
const SAID = {waiting: "Waits for its turn", sending: "Is being sent", restoring: "Is being restored"};
// What computing costs on Azure Functions, Flex Consumption, on demand; the least seconds are billed at least.
const USD_PER_GB_SECOND = 0.000026, MEMORY_GB = 2, LEAST_SECONDS = 1;
const KEY_STAYS = "Kept in this tab only, and sent to this service only.";

const at = id => document.getElementById(id);
const pause = ms => new Promise(done => setTimeout(done, ms));
const bitmap = blob => blob ? createImageBitmap(blob).catch(() => null) : null;  // null: the browser cannot show it
const percent = share => `${Math.round(100 * share)} %`;
const seconds = value =>
  value < 1 ? `${Math.round(1000 * value)}\u00a0ms` : `${value.toFixed(value < 10 ? 2 : 0)}\u00a0s`;
const ending = blob => ENDINGS[blob.type] ?? blob.type.split("/")[1];

const photos = [];
let known = {models: [], limits: {}}, chosen = null, working = false, decoding = 0;

const viewer = new Viewer(at("stage"), zoom => {
  at("fit").ariaPressed = viewer.level === null;
  at("loupe").ariaPressed = viewer.loupe;
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.ariaPressed = viewer.level !== null && Math.abs(zoom - button.dataset.zoom) < 0.005;
  }
});

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// From files to answers

function add(files) {
  const added = [...files].map(file => {
    const photo = {file, state: "waiting", strength: Number(at("strength").value), model: at("model").value};
    photo.button = element("button", {onclick: () => choose(photo)}, element("canvas", {width: 0}), element("i"));
    photo.row = element("li", {}, photo.button);
    thumbnail(photo);
    change(photo, {});
    return photo;
  });
  if (!added.length) return;
  photos.push(...added);
  at("strip").append(...added.map(photo => photo.row));
  choose(added[0]);
  work();
}

async function work() {
  if (working) return;
  working = true;
  for (let next; (next = photos.find(photo => photo.state === "waiting"));) {
    await run(next);
    if (next.problem?.status === 401) break;  // the others would be refused as well
  }
  working = false;
}

async function run(photo) {
  const result = await attempt(photo, 1, () => again(photo));
  if (!result) return;
  change(photo, {state: "done", result});
  if (photo.megapixels) known.seconds_per_megapixel = taken(result) / photo.megapixels;  // newer than what was told
  if (photo === chosen) show(photo, true);
}

function again(photo, changes = {}) {
  photo.stop?.abort();
  change(photo, {...changes, state: "waiting", result: null, problem: null});
  if (photo === chosen) show(photo);
  work();
}

/** As it is shown: where the strength is not whole, the service makes the file, so that depth and profile are its. */
async function download(photo) {
  const made = photo.strength < 1 ? await attempt(photo, photo.strength, () => download(photo)) : photo.result;
  if (!made) return;
  change(photo, {state: "done", problem: null});
  const name = `${photo.file.name.replace(/\.[^.]*$/, "") || "photo"}.deblurred.${ending(made.blob)}`;
  const link = element("a", {href: URL.createObjectURL(made.blob), download: name});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** The service's answer about a photo; null where there is none, and the photo then says why. */
async function attempt(photo, strength, retry) {
  const stop = photo.stop = new AbortController();
  try {
    const most = known.limits.body_mb, own = photo.file.size / 1e6;
    if (own > most) throw new service.Problem(413, "Too large", `It has ${own.toFixed(1)} MB; ${most} MB are allowed.`);
    return await ask(photo, strength, stop.signal);
  } catch (problem) {
    if (stop.signal.aborted) return null;
    change(photo, {state: "failed", problem, retry});
    if (problem.status === 401) askForKey();
    return null;
  }
}

async function ask(photo, strength, stop) {
  const id = [...crypto.getRandomValues(new Uint32Array(4))].map(n => n.toString(36)).join("-");
  const model = known.models.length > 1 && photo.model;  // a single one may have got another name since
  const options = {...model && {model}, ...strength < 1 && {strength}, progress: id};
  const sent = share => {
    if (stop.aborted || photo.state !== "sending") return;
    change(photo, {step: `Sending, ${percent(share)}`, share: SENDING * share});
    if (share === 1) watch(photo, id, stop);
  };
  for (let tries = 1; ; tries++) {
    change(photo, {state: "sending", step: "Sending", share: 0, problem: null});
    try {
      return await service.restore(photo.file, options, sent, stop);
    } catch (problem) {
      if (problem.status !== 503 || tries === TRIES) throw problem;
      for (let left = Math.ceil(problem.retryAfter); left > 0 && !stop.aborted; left--) {
        change(photo, {state: "sending", step: `The service is busy. Next try in ${left} s`, share: undefined});
        await pause(1000);
      }
      stop.throwIfAborted();
    }
  }
}

/** Until the answer comes: tiles where the service tells of them, else what such a photo took before. */
async function watch(photo, id, stop) {
  const started = performance.now(), guess_s = known.seconds_per_megapixel * photo.megapixels;  // 0, NaN: nobody knows
  change(photo, {state: "restoring", step: "Restoring", share: undefined});
  const over = () => photo.state !== "restoring" || stop.aborted;
  for (let asks = true; !over(); await pause(POLL_MS)) {
    const tiles = asks && await service.progress(id);
    if (over()) return;
    asks &&= tiles;  // a service that cannot tell is not asked again
    if (tiles?.total > 1) {
      const share = SENDING + (1 - SENDING) * tiles.done / tiles.total;
      change(photo, {step: `Restoring, ${tiles.done} of ${tiles.total} tiles`, share});
    } else if (guess_s) {
      const share = 1 - (1 - SENDING) * Math.exp((started - performance.now()) / 1e3 / guess_s);
      change(photo, {step: `Restoring, about ${seconds(guess_s)}`, share});
    }
  }
}

// What is seen

function change(photo, changes) {
  Object.assign(photo, changes);
  photo.button.className = photo.state;
  photo.button.ariaCurrent = photo === chosen;
  photo.button.ariaLabel = `${photo.file.name}: ${said(photo)}`;
  if (photo === chosen) tell(photo);
}

function said({state, result}) {
  if (state === "failed") return result ? "The download failed" : "Was not restored";
  return SAID[state] ?? `Restored in ${seconds(taken(result))}`;
}

function choose(photo) {
  const before = chosen;
  chosen = photo;
  if (before) change(before, {});
  at("welcome").hidden = Boolean(photo);
  at("work").hidden = !photo;
  if (!photo) return void (decoding++, viewer.show(null, null));
  change(photo, {});
  at("strip").scrollLeft = photo.row.offsetLeft - at("strip").offsetLeft - photo.row.offsetWidth;
  show(photo);
}

/** Decodes what there is of the chosen photo, and draws it. */
async function show(photo, fresh = false) {
  const mine = ++decoding, pair = await Promise.all([bitmap(photo.file), bitmap(photo.result?.blob)]);
  if (mine !== decoding) return pair.forEach(each => each?.close());
  const [before, after] = pair;
  photo.seen = {before, after};
  viewer.strength = photo.strength;
  viewer.show(before ?? after, before && after, viewer.photo === photo);
  viewer.photo = photo;
  tell(photo);
  if (fresh && before && after) reveal(performance.now());
}

/** Draws the divider over the photo, once. */
function reveal(started) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const share = still ? 1 : Math.min((performance.now() - started) / REVEAL_MS, 1);
  viewer.divide.value = 100 - 50 * (1 - (1 - share) ** 3);
  viewer.draw();
  if (share < 1) requestAnimationFrame(() => reveal(started));
}

async function thumbnail(photo) {
  const picture = await bitmap(photo.file), canvas = photo.button.firstChild;
  if (!picture) return canvas.replaceWith(element("span", {}, photo.file.name.split(".").pop().slice(0, 5)));
  const {width, height} = picture, side = Math.min(width, height);
  Object.assign(photo, {megapixels: width * height / 1e6, size: `${width} × ${height}`});
  canvas.width = canvas.height = THUMB_PX;
  const square = [(width - side) / 2, (height - side) / 2, side, side];
  canvas.getContext("2d").drawImage(picture, ...square, 0, 0, THUMB_PX, THUMB_PX);
  picture.close();
}

function tell(photo) {
  const {state, problem, result, seen = {before: true}} = photo, busy = state === "sending" || state === "restoring";
  at("name").textContent = photo.file.name;
  if (at("said").textContent !== said(photo)) at("said").textContent = said(photo);  // it is read out when it changes
  at("running").hidden = !busy;
  at("step").textContent = photo.step;
  if (photo.share === undefined) at("progress").removeAttribute("value");
  else at("progress").value = photo.share;
  at("strength").value = photo.strength;
  at("strength-said").textContent = percent(photo.strength);
  at("model").value = photo.model || known.default;
  at("download").disabled = !result || busy;
  at("download").textContent = `Download ${result ? ending(result.blob).toUpperCase() : ""}`;
  at("canvas").ariaLabel = `${photo.file.name}, ${result ? "before and after" : "before"}`;
  at("unseen").textContent = seen.before || seen.after || problem ? ""
    : `This browser cannot show this kind of file. It is restored${result ? ": download it" : " all the same"}.`;
  at("facts").replaceChildren(...facts(photo).flatMap(([name, ...lines]) =>
    [element("dt", {}, name), element("dd", {}, ...lines.map(line => element("span", {}, line)))]));
  at("notes").replaceChildren(...notes(photo).map(note => element("p", {}, note)));
  if (at("trouble").told === problem) return;  // it is read out when it changes
  at("trouble").told = problem;
  at("trouble").replaceChildren();
  if (!problem) return;
  at("trouble").append(element("strong", {}, problem.title), element("p", {}, problem.message));
  if (problem.passes) at("trouble").append(element("button", {onclick: () => photo.retry()}, "Try again"));
}

function stages(result) {
  return [...(result.header("Server-Timing") ?? "").matchAll(/(decode|restore|encode);dur=([\d.]+)/g)]
    .map(([, stage, ms]) => [stage, ms / 1e3]);
}

/** What the guard did, from "replaced=0.02, left-alone=0.33": rows, none where it did nothing. */
function guarded(header) {
  const percent = name => Math.round(100 * Number(new RegExp(`${name}=([0-9.]+)`).exec(header)?.[1] ?? 0));
  const [replaced, alone] = ["replaced", "left-alone"].map(percent);
  return [
    ...(replaced ? [["Guard", `${replaced} % was broken`, "and is as it came"]] : []),
    ...(alone ? [["Left alone", `${alone} %`, "of the change, where it looked sharp"]] : []),
  ];
}

function taken(result) { return stages(result).reduce((sum, [, each]) => sum + each, 0); }

function facts({size, result}) {
  if (!result) return [];
  const parts = stages(result).map(([stage, each]) => `${stage} ${seconds(each)}`);
  const dollars = Math.max(LEAST_SECONDS, taken(result)) * MEMORY_GB * USD_PER_GB_SECOND;
  const told = [
    ["Time", seconds(taken(result)), parts.join(", ")],
    ["Cost", `$${(1000 * dollars).toFixed(2)} for 1000 such`, `on Azure Functions, ${MEMORY_GB} GB`],
  ];
  const [model, tiles, guard] = ["Model", "Tiles", "Guard"].map(name => result.header(`X-Deblur-${name}`));
  if (model) told.push(["Model", decodeURIComponent(model)]);
  if (size) told.push(["Size", size, tiles === "1" ? "in one tile" : `in ${tiles} tiles`]);
  return [...told, ...guarded(guard ?? "")];
}

function notes({result, seen, strength}) {
  if (!result) return [];
  const [frames, left] = ["Frames", "Left-Out"].map(name => result.header(`X-Deblur-${name}`));
  return [
    seen?.after && !seen.before && "This browser cannot show the original. What you see is the restored photo.",
    seen?.before && !seen.after && "This browser cannot show the restored file. What you see is the original.",
    frames && `Restored is frame ${frames}.`,
    left && `Left out: ${left}.`,
    strength < 1 && "The download is made anew at this strength.",
  ].filter(Boolean);
}

// The key, and what the service says of itself

function askForKey() {
  at("key-panel").hidden = false;
  at("key-panel").open = true;
  at("key").focus();
}

async function useKey(event) {
  event.preventDefault();
  const typed = at("key").value.trim(), odd = /[^\x21-\x7e]/.test(typed);
  at("key-said").textContent = odd ? "No key has such letters or spaces." : KEY_STAYS;
  if (odd) return;
  service.key.set(typed);
  at("key").value = "";
  at("key-panel").open = false;
  await learn();
  for (const photo of photos) if (photo.problem?.status === 401) photo.retry();
  work();
}

async function learn() {
  known = await service.about();
  const {formats, body_mb, megapixels} = known.limits;
  if (body_mb) at("allowed").textContent = `Up to ${body_mb} MB and ${megapixels} megapixels. Photos are not stored.`;
  if (formats) at("allowed").prepend(`${formats.join(", ").toUpperCase()}. `);
  at("key-panel").hidden = known.key === false;
  at("key-state").textContent = service.key.get() ? "Key is set" : known.key ? "Key needed" : "Key";
  at("models").hidden = known.models.length < 2;
  at("model").replaceChildren(...known.models.map(({name, model}) => element("option", {value: name}, model ?? name)));
  at("model").value = chosen?.model || known.default;
}

function remove() {
  const place = photos.indexOf(chosen);
  chosen.stop?.abort();
  chosen.row.remove();
  photos.splice(place, 1);
  choose(photos[place] ?? photos[place - 1] ?? null);
  (chosen?.button ?? document.querySelector(".choose")).focus();
}

function strengthen() {
  change(chosen, {strength: Number(at("strength").value)});
  viewer.strength = chosen.strength;
}

at("files").onchange = () => { add(at("files").files); at("files").value = ""; };
for (const button of document.querySelectorAll(".choose")) button.onclick = () => at("files").click();
for (const button of document.querySelectorAll("[data-zoom]")) {
  button.onclick = () => viewer.zoom(Number(button.dataset.zoom));
}
at("fit").onclick = () => viewer.zoom(null);
at("loupe").onclick = () => { viewer.loupe = !viewer.loupe; viewer.draw(); };
at("strength").oninput = strengthen;
at("model").onchange = () => again(chosen, {model: at("model").value});
at("download").onclick = () => download(chosen);
at("remove").onclick = remove;
at("key-form").onsubmit = useKey;
addEventListener("paste", event => add(event.clipboardData.files));
addEventListener("dragover", event => { event.preventDefault(); document.body.classList.add("dropping"); });
addEventListener("dragleave", event => event.relatedTarget || document.body.classList.remove("dropping"));
addEventListener("drop", event => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  add(event.dataTransfer.files);
});
await learn();
