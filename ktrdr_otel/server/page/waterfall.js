// The live waterfall: one row per step, drawn on a canvas that holds only the rows in view, so that thousands
// stay smooth. Scrolling is the browser's own; the canvas sticks to the top of the scrolled box.

import { now } from "./api.js";
import { Colours, sharp } from "./canvas.js";
import { ticks } from "./curves.js";
import { element, paced, setProperty, setText } from "./dom.js";
import { count, duration, offset, value } from "./format.js";
import { Overview } from "./overview.js";
import { StepTable } from "./step_table.js";
import { Timespan } from "./timespan.js";
import { depth, describe, rowsWithin, title } from "./waterfall_rows.js";

const ROW = 20;
const RULER = 24;
const BAR = 11;

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
    this.box = element(
      "div",
      { class: "rows", tabindex: "0", role: "group", "aria-label": "Waterfall of steps", "aria-describedby": "waterfall-keys waterfall-detail" },
      this.canvas,
      this.spacer,
    );
    this.detail = element("output", { class: "detail", id: "waterfall-detail" });
    this.number = element("span", { class: "quiet" });
    this.latest = element("button", { type: "button", class: "latest", hidden: true, on: { click: () => this.toLatest() } }, "↓ Latest");
    this.table = new StepTable();
    this.node = element("section", { class: "panel waterfall", "aria-labelledby": "waterfall-title" }, this.header(), element("div", { class: "strip" }, this.overview.canvas), element("div", { class: "stage" }, this.box, this.latest), this.detail, this.keysHelp(), this.table.node);
    this.frame = null;
    this.listen();
    this.tableSoon = paced(() => this.table.show(this.rows), 1000);
  }

  header() {
    const button = (label, text, work) => element("button", { type: "button", "aria-label": label, title: label, on: { click: () => (work(), this.refresh()) } }, text);
    const filter = element("input", { type: "search", placeholder: "filter steps", "aria-label": "Filter steps", on: { input: () => ((this.text = filter.value), this.refresh()) } });
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

  keysHelp() {
    return element("p", { class: "keys-help", id: "waterfall-keys" }, "Drag to zoom into a time, double-click for all of it. Keys: ↑ ↓ choose a step, ← → move, + − zoom, 0 all.");
  }

  listen() {
    const { box } = this;
    box.addEventListener("scroll", () => this.redraw());
    box.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    box.addEventListener("keydown", (event) => this.key(event));
    box.addEventListener("pointerdown", (event) => this.press(event));
    box.addEventListener("pointermove", (event) => this.move(event));
    box.addEventListener("pointerup", (event) => this.release(event));
    box.addEventListener("pointerleave", () => this.leave());
    box.addEventListener("dblclick", () => (this.span.all(), this.refresh()));
    this.sizes = new ResizeObserver(() => this.refresh());
    this.sizes.observe(box);
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
      this.draw();
      this.tell();
    });
  }

  draw() {
    const [width, height] = [this.box.clientWidth, this.box.clientHeight];
    const context = sharp(this.canvas, width, height);
    if (!context) return;
    this.gutter = Math.round(Math.min(300, width * (width < 600 ? 0.36 : 0.27)));
    // Room for the words behind the last bars.
    this.scale = (width - this.gutter - (width < 600 ? 54 : 84)) / this.span.length;
    context.font = `12px ${getComputedStyle(this.box).fontFamily}`;
    context.textBaseline = "middle";
    this.drawRuler(context, width, height);
    context.save();
    context.beginPath();
    context.rect(0, RULER, width, height - RULER);
    context.clip();
    const first = Math.floor(this.box.scrollTop / ROW);
    const last = Math.min(this.rows.length, first + Math.ceil(height / ROW) + 1);
    for (let index = first; index < last; index += 1) this.drawRow(context, this.rows[index], RULER + index * ROW - this.box.scrollTop, width);
    context.restore();
    this.drawPointer(context, height);
  }

  /** Until when a step that is open has lasted. */
  soFar() {
    return this.live ? now() : this.span.end;
  }

  x(moment) {
    return this.gutter + (moment - this.span.from) * this.scale;
  }

  drawRuler(context, width, height) {
    const first = this.rows[Math.floor(this.box.scrollTop / ROW)]?.checkpoint;
    // What the rows in view belong to, where its own row is scrolled away.
    context.fillStyle = this.colours.of("quiet");
    context.fillText(fitted(context, [first?.symbol, first?.timeframe].filter(Boolean).join(" · "), this.gutter - 16), 8, RULER / 2 - 1);
    const [from, to] = [this.span.from - this.start, this.span.to - this.start];
    const marks = ticks(from, to, Math.max(2, Math.floor((width - this.gutter) / 110)));
    const resolution = marks.length > 1 ? marks[1] - marks[0] : 1;
    for (const mark of marks) {
      const x = Math.round(this.x(this.start + mark)) + 0.5;
      context.strokeStyle = this.colours.of("line");
      context.beginPath();
      context.moveTo(x, RULER - 5);
      context.lineTo(x, height);
      context.stroke();
      const words = offset(mark, resolution);
      if (x + 4 + context.measureText(words).width > width) continue;
      context.fillStyle = this.colours.of("quiet");
      context.fillText(words, x + 4, RULER / 2 - 1);
    }
  }

  drawRow(context, row, y, width) {
    const middle = y + ROW / 2;
    if (row === this.selected || row === this.hovered) {
      context.fillStyle = this.colours.of(row === this.selected ? "chosen" : "hover");
      context.fillRect(0, y, width, ROW);
    }
    const failed = row.checkpoint.status === "failed" || row.checkpoint.status === "lost";
    const indent = 8 + depth(this.steps, row) * (width < 600 ? 6 : 12);
    context.fillStyle = this.colours.of(failed ? "bad" : row.kind === "container" ? "quiet" : "ink");
    context.fillText(fitted(context, title(row, width < 600), this.gutter - indent - 8), indent, middle);
    this.drawBar(context, row, middle, width, failed);
  }

  drawBar(context, row, middle, width, failed) {
    const end = row.end ?? Math.max(this.soFar(), row.start);
    const left = Math.max(this.x(row.start), this.gutter);
    const right = Math.min(Math.max(this.x(end), left + 2), width);
    if (right < this.gutter || left > width) return;
    context.fillStyle = this.colours.of(failed ? "bad" : row.colour);
    const tall = row.kind === "container" ? 3 : BAR;
    context.globalAlpha = row.end === null ? 0.55 : 1;
    context.beginPath();
    context.roundRect(left, middle - tall / 2, right - left, tall, Math.min(3, (right - left) / 2));
    context.fill();
    context.globalAlpha = 1;
    if (row.end === null) context.fillRect(right - 2, middle - 8, 2, 16); // still open: its edge moves
    this.drawLength(context, `${duration(end - row.start)}${failed ? ` · ${row.checkpoint.error?.type ?? row.checkpoint.status}` : ""}`, left, right, middle, width);
  }

  drawLength(context, words, left, right, middle, width) {
    const wide = context.measureText(words).width;
    context.fillStyle = this.colours.of("quiet");
    if (right + 6 + wide < width) context.fillText(words, right + 6, middle);
    else if (left - 6 - wide > this.gutter) context.fillText(words, left - 6 - wide, middle);
    else {
      context.fillStyle = this.colours.of("panel");
      context.fillRect(width - wide - 12, middle - ROW / 2 + 1, wide + 12, ROW - 2);
      context.fillStyle = this.colours.of("ink");
      context.fillText(words, width - wide - 6, middle);
    }
  }

  drawPointer(context, height) {
    const { pointer } = this;
    if (!pointer || pointer.x < this.gutter) return;
    context.strokeStyle = this.colours.of("accent");
    context.globalAlpha = 0.6;
    context.beginPath();
    context.moveTo(Math.round(pointer.x) + 0.5, 4);
    context.lineTo(Math.round(pointer.x) + 0.5, height);
    context.stroke();
    context.globalAlpha = 0.14;
    context.fillStyle = this.colours.of("accent");
    if (pointer.pressed !== undefined) context.fillRect(Math.min(pointer.x, pointer.pressed), RULER, Math.abs(pointer.x - pointer.pressed), height);
    context.globalAlpha = 1;
  }

  tell() {
    const row = this.hovered ?? this.selected;
    setText(this.detail, row ? sentence(row, this.start, this.soFar()) : "");
  }

  wheel(event) {
    const sideways = event.shiftKey ? event.deltaY : event.deltaX;
    if (event.ctrlKey || event.metaKey) this.span.zoom(Math.exp(event.deltaY * 0.01), this.momentAt(event));
    else if (Math.abs(sideways) > Math.abs(event.shiftKey ? 0 : event.deltaY) && !this.span.whole) this.span.pan(sideways / 800);
    else return;
    event.preventDefault();
    this.refresh();
  }

  key(event) {
    const moves = { ArrowLeft: () => this.span.pan(-0.2), ArrowRight: () => this.span.pan(0.2), "+": () => this.span.zoom(0.5), "=": () => this.span.zoom(0.5), "-": () => this.span.zoom(2), 0: () => this.span.all(), ArrowUp: () => this.choose(-1), ArrowDown: () => this.choose(1), Escape: () => (this.selected = null) };
    const move = event.ctrlKey || event.metaKey || event.altKey ? undefined : moves[event.key];
    if (!move) return;
    event.preventDefault();
    move();
    this.refresh();
  }

  choose(by) {
    const place = this.rows.indexOf(this.selected);
    const first = Math.ceil(this.box.scrollTop / ROW);
    const next = place < 0 ? first : Math.min(Math.max(place + by, 0), this.rows.length - 1);
    this.selected = this.rows[next] ?? null;
    this.hovered = null;
    const room = this.box.clientHeight - RULER;
    if (next * ROW < this.box.scrollTop) this.box.scrollTop = next * ROW;
    else if ((next + 1) * ROW > this.box.scrollTop + room) this.box.scrollTop = (next + 1) * ROW - room;
  }

  press(event) {
    this.move(event);
    const { x } = this.pointer;
    // A finger scrolls; the scrollbar is the browser's.
    if (event.pointerType === "touch" || event.button !== 0 || x < this.gutter || x > this.box.clientWidth) return;
    this.pointer.pressed = x;
    this.box.setPointerCapture(event.pointerId);
  }

  move(event) {
    const box = this.box.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    this.pointer = { ...this.pointer, x };
    this.hovered = y > RULER ? (this.rows[Math.floor((y - RULER + this.box.scrollTop) / ROW)] ?? null) : null;
    this.redraw();
  }

  release() {
    const { x, pressed } = this.pointer ?? {};
    if (this.pointer) delete this.pointer.pressed;
    if (pressed !== undefined && Math.abs(x - pressed) > 4) {
      const moments = [pressed, x].map((each) => this.span.from + (each - this.gutter) / this.scale);
      this.span.show(...moments);
    } else this.selected = this.hovered;
    this.refresh();
  }

  leave() {
    if (this.pointer?.pressed !== undefined) return;
    [this.pointer, this.hovered] = [null, null];
    this.redraw();
  }

  momentAt(event) {
    const x = event.clientX - this.box.getBoundingClientRect().left;
    return this.span.from + Math.max(0, x - this.gutter) / this.scale;
  }
}

function sentence(row, start, soFar) {
  const { status, metrics = {}, error, span_id: span } = row.checkpoint;
  const values = Object.entries(metrics).map(([name, amount]) => `${name} ${value(amount)}`);
  const length = row.end === null ? `open for ${duration(soFar - row.start)}` : duration(row.end - row.start);
  return [describe(row), length, `at +${duration(row.start - start)}`, row.end === null ? null : status, error ? `${error.type}: ${error.message}` : null, ...values, `span ${span}`].filter(Boolean).join("  ·  ");
}

/** The text, cut with an ellipsis to that many pixels. */
function fitted(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (context.measureText(`${text.slice(0, middle)}…`).width <= room) low = middle;
    else high = middle - 1;
  }
  return `${text.slice(0, low)}…`;
}
