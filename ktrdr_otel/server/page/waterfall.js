// The live waterfall: one row per step, drawn on a canvas that holds only the rows in view, so that thousands
// stay smooth. Scrolling is the browser's own; the canvas sticks to the top of the scrolled box.

import { now } from "./api.js";
import { Colours } from "./canvas.js";
import { element, paced, setProperty, setText } from "./dom.js";
import { count, duration, value } from "./format.js";
import { Overview } from "./overview.js";
import { StepTable } from "./step_table.js";
import { Timespan } from "./timespan.js";
import { Hands } from "./waterfall_hands.js";
import { Picture, ROW, RULER } from "./waterfall_picture.js";
import { describe, rowsWithin } from "./waterfall_rows.js";

const KEYS =
  "Drag to zoom into a time, double-click for all of it. " +
  "Keys: ↑ ↓ choose a step, ← → move, + − zoom, 0 all.";

export class Waterfall {
  span = new Timespan();
  rows = [];
  text = "";
  selected = null;
  hovered = null;
  pointer = null;

  constructor() {
    this.colours = new Colours(() => this.refresh());
    this.overview = new Overview(this.span, this.colours, () => this.refresh());
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.spacer = element("div", {});
    const label = {
      "aria-label": "Waterfall of steps",
      "aria-describedby": "waterfall-keys waterfall-detail",
    };
    this.box = element(
      "div",
      { class: "rows", tabindex: "0", role: "group", ...label },
      this.canvas,
      this.spacer,
    );
    this.detail = element("output", { class: "detail", id: "waterfall-detail" });
    this.number = element("span", { class: "quiet" });
    const click = () => this.toLatest();
    this.latest = element(
      "button",
      { type: "button", class: "latest", hidden: true, on: { click } },
      "↓ Latest",
    );
    this.table = new StepTable();
    this.node = element(
      "section",
      { class: "panel waterfall", "aria-labelledby": "waterfall-title" },
      this.header(),
      element("div", { class: "strip" }, this.overview.canvas),
      element("div", { class: "stage" }, this.box, this.latest),
      this.detail,
      element("p", { class: "keys-help", id: "waterfall-keys" }, KEYS),
      this.table.node,
    );
    this.frame = null;
    this.picture = new Picture(this);
    this.hands = new Hands(this);
    this.sizes = new ResizeObserver(() => this.refresh());
    this.sizes.observe(this.box);
    this.tableSoon = paced(() => this.table.show(this.rows), 1000);
  }

  header() {
    const button = (label, text, work) => {
      const click = () => (work(), this.refresh());
      return element("button", { type: "button", "aria-label": label, title: label, on: { click } }, text);
    };
    const input = () => ((this.text = filter.value), this.refresh());
    const said = { type: "search", placeholder: "filter steps", "aria-label": "Filter steps" };
    const filter = element("input", { ...said, on: { input } });
    return element(
      "header",
      {},
      element("h2", { id: "waterfall-title" }, "Waterfall"),
      this.number,
      filter,
      element(
        "span",
        { class: "tools", role: "group", "aria-label": "Time in view" },
        button("Earlier", "←", () => this.span.pan(-0.5)),
        button("Later", "→", () => this.span.pan(0.5)),
        button("Zoom out", "−", () => this.span.zoom(2)),
        button("Zoom in", "+", () => this.span.zoom(0.5)),
        button("All of it", "All", () => this.span.all()),
      ),
    );
  }

  close() {
    this.sizes.disconnect();
    this.colours.close();
    cancelAnimationFrame(this.frame);
  }

  /** The picture shows the steps of the operation, which lasts until `end`. */
  show(steps, start, end, live) {
    Object.assign(this, { steps, live, start });
    this.span.bound(start, end);
    // Who looks at the newest goes on to; what has ended is read from its start.
    const stays = this.rows.length ? this.atBottom() : live;
    this.refresh();
    if (stays) this.toLatest();
  }

  /** The rows are chosen anew, and drawn; the one at the top stays where it is. */
  refresh() {
    if (!this.steps) return;
    const top = this.rows[Math.floor(this.box.scrollTop / ROW)];
    this.rows = rowsWithin(this.steps, this.span, this.text);
    setProperty(this.box, "--rows", this.rows.length);
    // At once, not with the next frame: until then the box would end elsewhere.
    this.canvas.style.height = `${this.box.clientHeight}px`;
    this.spacer.style.height = `${Math.max(0, this.rows.length * ROW + RULER - this.box.clientHeight)}px`;
    if (top && this.rows[Math.floor(this.box.scrollTop / ROW)] !== top) {
      const place = this.rows.indexOf(top);
      if (place >= 0) this.box.scrollTop = place * ROW + (this.box.scrollTop % ROW);
    }
    setText(this.number, this.words());
    this.tableSoon();
    this.redraw();
  }

  words() {
    const shown = `${count(this.rows.length)} ${this.rows.length === 1 ? "step" : "steps"}`;
    const when = this.span.whole ? "" : ` in ${duration(this.span.length)}`;
    return shown + when + (this.steps.left ? `; ${count(this.steps.left)} older ones are not drawn` : "");
  }

  atBottom() {
    return this.box.scrollTop + this.box.clientHeight >= this.box.scrollHeight - 4;
  }

  toLatest() {
    this.box.scrollTop = this.box.scrollHeight;
    this.redraw();
  }

  redraw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.latest.hidden = !this.live || this.atBottom();
      this.overview.draw(this.steps, this.soFar());
      this.picture.draw();
      this.tell();
    });
  }

  tell() {
    const row = this.hovered ?? this.selected;
    const warnings = row ? this.steps.warnings.get(row.checkpoint.span_id) : undefined;
    setText(this.detail, row ? sentence(row, this.start, this.soFar(), warnings) : "");
  }

  /** Until when a step that is open has lasted. */
  soFar() {
    return this.live ? now() : this.span.end;
  }
}

function sentence(row, start, soFar, warnings = []) {
  const { status, metrics = {}, error, span_id: span } = row.checkpoint;
  const values = Object.entries(metrics).map(([name, amount]) => `${name} ${value(amount)}`);
  const length = row.end === null ? `open for ${duration(soFar - row.start)}` : duration(row.end - row.start);
  const parts = [
    describe(row),
    length,
    `at +${duration(row.start - start)}`,
    row.end === null ? null : status,
    error ? `${error.type}: ${error.message}` : null,
    ...warnings.map(({ level, message }) => `${level}: ${message}`),
    ...values,
    `span ${span}`,
  ];
  return parts.filter(Boolean).join("  ·  ");
}
