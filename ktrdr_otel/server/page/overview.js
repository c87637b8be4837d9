// The whole operation in one strip, a lane per kind; what is in view is framed, and dragging chooses it.

import { sharp } from "./canvas.js";
import { element } from "./dom.js";

const LANE = 5;
const GAP = 2;
const PAD = 4;
const MOST = 16; // lanes

export class Overview {
  constructor(span, colours, changed) {
    this.span = span;
    this.colours = colours;
    this.changed = changed;
    this.canvas = element("canvas", { class: "overview", "aria-hidden": "true" });
    this.canvas.addEventListener("pointerdown", (event) => this.grab(event));
    this.canvas.addEventListener("pointermove", (event) => this.drag(event));
    for (const name of ["pointerup", "pointercancel"])
      this.canvas.addEventListener(name, () => (this.held = null));
    this.canvas.addEventListener("dblclick", () => (span.all(), changed()));
  }

  draw(steps, now) {
    const width = this.canvas.parentElement.clientWidth;
    const known = steps.lanes.slice(0, MOST);
    const height = PAD * 2 + Math.max(3, known.length) * (LANE + GAP) - GAP;
    const context = sharp(this.canvas, width, height);
    if (!context) return;
    this.width = width;
    const lanes = new Map(
      known.map(({ kind, colour }, index) => [
        kind,
        { y: PAD + index * (LANE + GAP), painted: -1, colour: this.colours.of(`kind-${colour}`) },
      ]),
    );
    for (const row of steps.rows) {
      const lane = lanes.get(row.kind);
      if (!lane) continue;
      const left = Math.max(this.x(row.start), lane.painted);
      const right = Math.max(this.x(row.end ?? now), this.x(row.start) + 1);
      if (right <= lane.painted) continue; // thousands of short ones share a pixel
      context.fillStyle = row.checkpoint.status === "failed" ? this.colours.of("bad") : lane.colour;
      context.fillRect(left, lane.y, right - left, LANE);
      lane.painted = right;
    }
    if (!this.span.whole) this.frame(context, height);
  }

  frame(context, height) {
    const [left, right] = [this.x(this.span.from), this.x(this.span.to)];
    context.fillStyle = this.colours.of("veil");
    context.fillRect(0, 0, left, height);
    context.fillRect(right, 0, this.width - right, height);
    context.strokeStyle = this.colours.of("accent");
    context.strokeRect(left + 0.5, 0.5, Math.max(right - left - 1, 1), height - 1);
  }

  x(moment) {
    return ((moment - this.span.start) / (this.span.end - this.span.start)) * this.width;
  }

  at(event) {
    const part = (event.clientX - this.canvas.getBoundingClientRect().left) / this.width;
    return this.span.start + part * (this.span.end - this.span.start);
  }

  grab(event) {
    const at = this.at(event);
    const inside = !this.span.whole && at > this.span.from && at < this.span.to;
    this.held = { at, inside };
    this.canvas.setPointerCapture(event.pointerId);
  }

  drag(event) {
    if (!this.held) return;
    const at = this.at(event);
    if (this.held.inside) {
      this.span.pan((at - this.held.at) / this.span.length);
      this.held.at = at;
    } else if (Math.abs(this.x(at) - this.x(this.held.at)) > 3) this.span.show(this.held.at, at);
    this.changed();
  }
}
