// One chart: a measure over the epochs, in training and in validation.

import { element, reconcile, setAttribute, setText, svg } from "./dom.js";
import { value } from "./format.js";
import { ticks } from "./ticks.js";

const HEIGHT = 168;
const EDGE = { left: 42, right: 8, top: 10, bottom: 20 };

export class Chart {
  width = 0; // of its box: a stretched picture would stretch its words

  constructor(curve) {
    this.curve = curve;
    this.grid = svg("g", { class: "grid" });
    this.lines = {
      train: svg("path", { class: "line train" }),
      validation: svg("path", { class: "line validation" }),
    };
    this.best = svg("circle", { class: "best", r: 4, visibility: "hidden" });
    this.cross = svg("line", {
      class: "cross",
      y1: EDGE.top,
      y2: HEIGHT - EDGE.bottom,
      visibility: "hidden",
    });
    this.picture = svg(
      "svg",
      { height: HEIGHT, role: "img" },
      this.grid,
      this.cross,
      this.lines.train,
      this.lines.validation,
      this.best,
    );
    this.caption = element("figcaption", {});
    this.node = element("figure", {}, this.caption, this.picture);
    this.picture.addEventListener("pointermove", (event) => this.point(event));
    this.picture.addEventListener("pointerleave", () => this.point(null));
    this.sizes = new ResizeObserver(() => this.epochs && this.show(this.epochs));
    this.sizes.observe(this.node);
  }

  show(epochs) {
    const { train, validation, title, best } = this.curve;
    this.epochs = epochs.filter((each) => [train, validation].some((key) => Number.isFinite(each[key])));
    const values = this.epochs.flatMap((each) => [each[train], each[validation]]).filter(Number.isFinite);
    this.width = this.node.clientWidth;
    if (!values.length || this.width < EDGE.left * 2) return;
    setAttribute(this.picture, "viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.scale(values);
    this.drawGrid();
    this.draw("train", train);
    this.draw("validation", validation);
    const judged = this.epochs.some((each) => Number.isFinite(each[validation])) ? validation : train;
    const record = best(...this.epochs.map((each) => each[judged]).filter(Number.isFinite));
    const winner = this.epochs.find((each) => each[judged] === record);
    setAttribute(this.best, "cx", this.x(winner.number));
    setAttribute(this.best, "cy", this.y(record));
    setAttribute(this.best, "visibility", "visible");
    setAttribute(this.picture, "aria-label", this.summary(record, winner));
    this.say(this.epochs.at(-1));
  }

  summary(record, winner) {
    const { title, train, validation } = this.curve;
    const last = this.epochs.at(-1);
    const now = `${value(last[train])} in training, ${value(last[validation])} in validation`;
    return `${title}: ${now} after epoch ${last.number}; best ${value(record)} in epoch ${winner.number}`;
  }

  scale(values) {
    const low = Math.min(...values);
    const high = Math.max(...values);
    const room = (high - low || Math.abs(high) || 1) * 0.08;
    this.ticks = ticks(low - room, high + room, 4);
    const [bottom, top] = [low - room, high + room];
    const [first, last] = [
      this.epochs[0].number,
      Math.max(this.epochs.at(-1).number, this.epochs[0].number + 1),
    ];
    this.x = (number) =>
      EDGE.left + ((number - first) / (last - first)) * (this.width - EDGE.left - EDGE.right);
    this.y = (amount) =>
      HEIGHT - EDGE.bottom - ((amount - bottom) / (top - bottom)) * (HEIGHT - EDGE.top - EDGE.bottom);
    this.numbers = ticks(first, last, 6).filter(
      (each) => Number.isInteger(each) && each >= first && each <= last,
    );
  }

  drawGrid() {
    const levels = this.ticks.filter(
      (each) => this.y(each) >= EDGE.top && this.y(each) <= HEIGHT - EDGE.bottom,
    );
    this.grid.replaceChildren(
      ...levels.flatMap((level) => [
        svg("line", { x1: EDGE.left, x2: this.width - EDGE.right, y1: this.y(level), y2: this.y(level) }),
        svg(
          "text",
          { x: EDGE.left - 6, y: this.y(level) + 3.5, "text-anchor": "end" },
          String(Number(level.toPrecision(6))),
        ),
      ]),
      ...this.numbers.map((number) =>
        svg("text", { x: this.x(number), y: HEIGHT - 6, "text-anchor": "middle" }, String(number)),
      ),
    );
  }

  draw(name, key) {
    let path = "";
    let pen = "M";
    for (const each of this.epochs) {
      if (!Number.isFinite(each[key])) {
        pen = "M"; // a gap stays a gap
        continue;
      }
      path += `${pen}${this.x(each.number).toFixed(1)} ${this.y(each[key]).toFixed(1)}`;
      pen = "L";
    }
    // A single point is seen as a dot, thanks to round line caps.
    setAttribute(this.lines[name], "data-single", this.epochs.length === 1);
    setAttribute(this.lines[name], "d", this.epochs.length === 1 ? `${path}h0.01` : path);
  }

  point(event) {
    if (!this.epochs?.length || !this.x) return;
    if (event === null) {
      setAttribute(this.cross, "visibility", "hidden");
      return this.say(this.epochs.at(-1));
    }
    const box = this.picture.getBoundingClientRect();
    const at = event.clientX - box.left;
    const nearest = this.epochs.reduce((one, other) =>
      Math.abs(this.x(other.number) - at) < Math.abs(this.x(one.number) - at) ? other : one,
    );
    setAttribute(this.cross, "x1", this.x(nearest.number));
    setAttribute(this.cross, "x2", this.x(nearest.number));
    setAttribute(this.cross, "visibility", "visible");
    this.say(nearest);
  }

  say(epoch) {
    const { title, train, validation } = this.curve;
    const spoken = [
      ["title", title],
      ["train", value(epoch[train])],
      ["validation", value(epoch[validation])],
      ["epoch", `epoch ${epoch.number}`],
    ];
    reconcile(
      this.caption,
      spoken,
      ([key]) => key,
      ([key]) => element("span", { class: `say-${key}` }),
      (node, [, text]) => setText(node, text),
    );
  }
}
