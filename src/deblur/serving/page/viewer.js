// Before and after on a canvas of the stage's size: only what is seen is drawn, however large the photo is.

const LOUPE_PX = 110, NEAR_PX = 24, PAN_PX = 60, MOST = 8;
const limited = (value, low, high) => Math.min(Math.max(value, low), high);

export class Viewer {
  #before = null; #after = null; #strength = 1;
  #zoom = null;  // device pixels a photo's pixel; null: all of it
  #middle = {x: 0, y: 0};  // the photo's pixel in the middle of the stage
  #pointer = null; #fingers = new Map(); #drags = null; #asked = 0;

  /** `zoomed` is told after every drawing. */
  constructor(stage, zoomed) {
    this.stage = stage;
    this.zoomed = zoomed;
    this.loupe = false;
    [this.canvas, this.divide] = ["canvas", "input"].map(name => stage.querySelector(name));
    new ResizeObserver(() => this.draw()).observe(stage);
    this.divide.addEventListener("input", () => this.draw());
    stage.addEventListener("keydown", event => this.#key(event));
    this.canvas.addEventListener("pointerdown", event => this.#down(event));
    this.canvas.addEventListener("pointermove", event => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) this.canvas.addEventListener(end, event => this.#up(event));
    this.canvas.addEventListener("pointerleave", () => { this.#pointer = null; this.draw(); });
    this.canvas.addEventListener("dblclick", event => this.zoom(this.#zoom ? null : 1, this.#at(event)));
    this.canvas.addEventListener("wheel", event => {
      if (!event.ctrlKey) return;  // a pinch on a trackpad; plain turning scrolls the page
      event.preventDefault();
      this.zoom(this.#now().zoom * Math.exp(-event.deltaY / 100), this.#at(event));
    }, {passive: false});
  }

  get level() { return this.#zoom; }

  /** Two bitmaps, or null for what there is not. The view stays where the photo is the same. */
  show(before, after, same) {
    for (const old of new Set([this.#before, this.#after])) if (old !== before && old !== after) old?.close();
    [this.#before, this.#after] = [before, after];
    if (!same && before) [this.#zoom, this.#middle] = [null, {x: before.width / 2, y: before.height / 2}];
    this.draw();
  }

  set strength(value) { this.#strength = value; this.draw(); }

  /** To `level` device pixels a photo's pixel, null for all of it; the photo's pixel under `point` stays there. */
  zoom(level, point = {x: this.stage.clientWidth / 2, y: this.stage.clientHeight / 2}) {
    if (!this.#before) return;
    const old = this.#now();
    this.#zoom = level === 1 ? 1 : level > old.fit * devicePixelRatio ? Math.min(level, MOST) : null;
    const scale = this.#now().scale;
    this.#middle.x += (point.x - old.width / 2) * (1 / old.scale - 1 / scale);
    this.#middle.y += (point.y - old.height / 2) * (1 / old.scale - 1 / scale);
    this.draw();
  }

  /** Where the photo lies on the stage now, in CSS pixels. */
  #now() {
    const [width, height] = [this.stage.clientWidth, this.stage.clientHeight];
    const [across, down] = [this.#before?.width ?? 1, this.#before?.height ?? 1];
    const fit = Math.min(width / across, height / down, 1);
    const scale = this.#zoom ? this.#zoom / devicePixelRatio : fit;
    const inside = (middle, size, room) =>  // no empty border where the photo is larger than the stage
      size * scale <= room ? size / 2 : limited(middle, room / 2 / scale, size - room / 2 / scale);
    this.#middle = {x: inside(this.#middle.x, across, width), y: inside(this.#middle.y, down, height)};
    const whole = value => Math.round(value * devicePixelRatio) / devicePixelRatio;  // pixels on pixels at 100 %
    const [left, top] = [whole(width / 2 - this.#middle.x * scale), whole(height / 2 - this.#middle.y * scale)];
    const [from, to] = [Math.max(left, 0), Math.min(left + across * scale, width)];
    const cut = whole(from + (to - from) * this.divide.value / 100);
    return {width, height, fit, scale, left, top, cut, zoom: scale * devicePixelRatio};
  }

  draw() {
    this.#asked ||= requestAnimationFrame(() => { this.#asked = 0; this.#paint(); });
  }

  #paint() {
    const now = this.#now(), pen = this.canvas.getContext("2d");
    this.canvas.width = Math.round(now.width * devicePixelRatio);
    this.canvas.height = Math.round(now.height * devicePixelRatio);
    if (this.#before) {
      pen.scale(devicePixelRatio, devicePixelRatio);
      pen.imageSmoothingQuality = "medium";
      this.#both(pen, now, now.width, now.height);
      if (this.loupe) this.#lens(pen, now);
    }
    const both = this.#before && this.#after;
    this.stage.classList.toggle("both", Boolean(both));
    this.stage.classList.toggle("zoomed", this.#zoom !== null);
    this.stage.classList.toggle("through", this.loupe);
    const right = now.width - now.left - (this.#before?.width ?? 0) * now.scale;
    for (const [name, px] of Object.entries({at: now.cut, left: now.left, top: now.top, right})) {
      this.stage.style.setProperty(`--${name}`, `${Math.max(px, 0)}px`);
    }
    this.stage.style.setProperty("--ratio", (this.#before?.width ?? 4) / (this.#before?.height ?? 3));
    this.divide.disabled = !both;
    this.divide.ariaValueText = `${this.divide.value} % before`;
    this.zoomed(this.#before ? now.zoom : null);
  }

  /** The photo with its corner at (left, top): before on the left of the cut, on the right the blend. */
  #both(pen, {left, top, scale, cut}, width, height) {
    const place = [left, top, this.#before.width * scale, this.#before.height * scale];
    pen.imageSmoothingEnabled = scale * devicePixelRatio < 2;
    const half = (from, to, paint) => {
      pen.save();
      pen.beginPath();
      pen.rect(from, 0, to - from, height);
      pen.clip();
      paint();
      pen.restore();
    };
    if (!this.#after) return half(0, width, () => pen.drawImage(this.#before, ...place));
    half(0, cut, () => pen.drawImage(this.#before, ...place));
    half(cut, width, () => {
      if (this.#strength < 1) pen.drawImage(this.#before, ...place);
      pen.globalAlpha = this.#strength;
      pen.drawImage(this.#after, ...place);
    });
    if (cut <= left || cut >= left + place[2]) return;
    for (const [colour, wide] of [["#0006", 3], ["#fff", 2]]) {
      pen.fillStyle = colour;
      pen.fillRect(cut - wide / 2, top, wide, place[3]);
    }
  }

  /** Around the pointer, or where the divider is: the same, three times as large, with all pixels at least. */
  #lens(pen, now) {
    const {x, y} = this.#pointer ?? {x: now.cut, y: now.height / 2};
    const more = Math.max(3, 1 / now.zoom);
    const [left, top, cut] = [x + (now.left - x) * more, y + (now.top - y) * more, x + (now.cut - x) * more];
    const round = new Path2D();
    round.arc(x, y, LOUPE_PX, 0, 2 * Math.PI);
    pen.save();
    pen.fillStyle = "#222";
    pen.fill(round);
    pen.clip(round);
    this.#both(pen, {left, top, cut, scale: now.scale * more}, now.width, now.height);
    pen.restore();
    for (const [colour, wide] of [["#0008", 5], ["#fff", 2]]) {
      [pen.strokeStyle, pen.lineWidth] = [colour, wide];
      pen.stroke(round);
    }
  }

  #at(event) {
    const box = this.canvas.getBoundingClientRect();
    return {x: event.clientX - box.left, y: event.clientY - box.top};
  }

  #down(event) {
    const point = this.#at(event), now = this.#now();
    this.canvas.setPointerCapture(event.pointerId);
    this.#fingers.set(event.pointerId, point);
    const divides = this.#after && (this.#zoom === null || Math.abs(point.x - now.cut) < NEAR_PX);
    this.#drags = divides && !this.loupe ? "divider" : "photo";
    if (event.pointerType === "mouse") this.#move(event);  // the first finger of two must move nothing
  }

  #move(event) {
    const point = this.#pointer = this.#at(event), last = this.#fingers.get(event.pointerId);
    if (last) {
      const other = [...this.#fingers].find(([id]) => id !== event.pointerId)?.[1];
      if (other) this.zoom(this.#now().zoom * this.#apart(point, other) / this.#apart(last, other), other);
      else if (this.#drags === "divider") this.#divideAt(point.x);
      else this.#pan(last.x - point.x, last.y - point.y);
      this.#fingers.set(event.pointerId, point);
    }
    this.stage.classList.toggle("near", this.#zoom !== null && Math.abs(point.x - this.#now().cut) < NEAR_PX);
    this.draw();
  }

  #up(event) {
    this.#fingers.delete(event.pointerId);
    if (event.pointerType !== "mouse") this.#pointer = null;
    this.draw();
  }

  #apart(a, b) { return Math.max(Math.hypot(a.x - b.x, a.y - b.y), 1); }

  #divideAt(x) {
    const {left, width, scale} = this.#now();
    const [from, to] = [Math.max(left, 0), Math.min(left + this.#before.width * scale, width)];
    this.divide.value = 100 * (x - from) / (to - from);
  }

  #pan(x, y) {
    const {scale} = this.#now();
    this.#middle = {x: this.#middle.x + x / scale, y: this.#middle.y + y / scale};
    this.draw();
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const ways = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
    const {zoom} = this.#now();
    if (event.shiftKey && ways[event.key]) this.#pan(...ways[event.key].map(way => way * PAN_PX));
    else if (event.key === "+" || event.key === "=") this.zoom(zoom * 1.5);
    else if (event.key === "-") this.zoom(zoom / 1.5);
    else if (event.key === "0") this.zoom(null);
    else if (event.key === "l" || event.key === "L") { this.loupe = !this.loupe; this.draw(); }
    else return;
    event.preventDefault();
  }
}
