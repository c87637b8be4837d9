// The drawing of the waterfall: the rows in view, a ruler above them, lengths beside the bars.

import { sharp } from "./canvas.js";
import { duration, offset } from "./format.js";
import { ticks } from "./ticks.js";
import { depth, title } from "./waterfall_rows.js";

export const ROW = 20;
export const RULER = 24;
const BAR = 11;
const NARROW = 600;

export class Picture {
  gutter = 0; // where the names end
  scale = 1; // pixels per millisecond

  constructor(view) {
    this.view = view;
  }

  draw() {
    const [width, height] = [this.view.box.clientWidth, this.view.box.clientHeight];
    const context = sharp(this.view.canvas, width, height);
    if (!context) return;
    this.gutter = Math.round(Math.min(300, width * (width < NARROW ? 0.36 : 0.27)));
    // Room for the words behind the last bars.
    this.scale = (width - this.gutter - (width < NARROW ? 54 : 84)) / this.view.span.length;
    context.font = `12px ${getComputedStyle(this.view.box).fontFamily}`;
    context.textBaseline = "middle";
    this.drawRuler(context, width, height);
    context.save();
    context.beginPath();
    context.rect(0, RULER, width, height - RULER);
    context.clip();
    const first = Math.floor(this.view.box.scrollTop / ROW);
    const last = Math.min(this.view.rows.length, first + Math.ceil(height / ROW) + 1);
    for (let index = first; index < last; index += 1)
      this.drawRow(context, this.view.rows[index], RULER + index * ROW - this.view.box.scrollTop, width);
    context.restore();
    this.drawPointer(context, height);
  }

  x(moment) {
    return this.gutter + (moment - this.view.span.from) * this.scale;
  }

  drawRuler(context, width, height) {
    const first = this.view.rows[Math.floor(this.view.box.scrollTop / ROW)]?.checkpoint;
    // What the rows in view belong to, where its own row is scrolled away.
    context.fillStyle = this.view.colours.of("quiet");
    context.fillText(
      fitted(context, [first?.symbol, first?.timeframe].filter(Boolean).join(" · "), this.gutter - 16),
      8,
      RULER / 2 - 1,
    );
    const [from, to] = [this.view.span.from - this.view.start, this.view.span.to - this.view.start];
    const marks = ticks(from, to, Math.max(2, Math.floor((width - this.gutter) / 110)));
    const resolution = marks.length > 1 ? marks[1] - marks[0] : 1;
    for (const mark of marks) {
      const x = Math.round(this.x(this.view.start + mark)) + 0.5;
      context.strokeStyle = this.view.colours.of("line");
      context.beginPath();
      context.moveTo(x, RULER - 5);
      context.lineTo(x, height);
      context.stroke();
      const words = offset(mark, resolution);
      if (x + 4 + context.measureText(words).width > width) continue;
      context.fillStyle = this.view.colours.of("quiet");
      context.fillText(words, x + 4, RULER / 2 - 1);
    }
  }

  drawRow(context, row, y, width) {
    const middle = y + ROW / 2;
    if (row === this.view.selected || row === this.view.hovered) {
      context.fillStyle = this.view.colours.of(row === this.view.selected ? "chosen" : "hover");
      context.fillRect(0, y, width, ROW);
    }
    const failed = row.checkpoint.status === "failed" || row.checkpoint.status === "lost";
    const indent = 8 + depth(this.view.steps, row) * (width < NARROW ? 6 : 12);
    context.fillStyle = this.view.colours.of(failed ? "bad" : row.kind === "container" ? "quiet" : "ink");
    context.fillText(fitted(context, title(row, width < NARROW), this.gutter - indent - 8), indent, middle);
    this.drawBar(context, row, middle, width, failed);
  }

  drawBar(context, row, middle, width, failed) {
    const end = row.end ?? Math.max(this.view.soFar(), row.start);
    const left = Math.max(this.x(row.start), this.gutter);
    const right = Math.min(Math.max(this.x(end), left + 2), width);
    if (right < this.gutter || left > width) return;
    context.fillStyle = this.view.colours.of(failed ? "bad" : row.colour);
    const tall = row.kind === "container" ? 3 : BAR;
    context.globalAlpha = row.end === null ? 0.55 : 1;
    context.beginPath();
    context.roundRect(left, middle - tall / 2, right - left, tall, Math.min(3, (right - left) / 2));
    context.fill();
    context.globalAlpha = 1;
    if (row.end === null) context.fillRect(right - 2, middle - 8, 2, 16); // still open: its edge moves
    this.drawLength(
      context,
      `${duration(end - row.start)}${failed ? ` · ${row.checkpoint.error?.type ?? row.checkpoint.status}` : ""}`,
      left,
      right,
      middle,
      width,
    );
  }

  drawLength(context, words, left, right, middle, width) {
    const wide = context.measureText(words).width;
    context.fillStyle = this.view.colours.of("quiet");
    if (right + 6 + wide < width) context.fillText(words, right + 6, middle);
    else if (left - 6 - wide > this.gutter) context.fillText(words, left - 6 - wide, middle);
    else {
      context.fillStyle = this.view.colours.of("panel");
      context.fillRect(width - wide - 12, middle - ROW / 2 + 1, wide + 12, ROW - 2);
      context.fillStyle = this.view.colours.of("ink");
      context.fillText(words, width - wide - 6, middle);
    }
  }

  drawPointer(context, height) {
    const { pointer } = this;
    if (!pointer || pointer.x < this.gutter) return;
    context.strokeStyle = this.view.colours.of("accent");
    context.globalAlpha = 0.6;
    context.beginPath();
    context.moveTo(Math.round(pointer.x) + 0.5, 4);
    context.lineTo(Math.round(pointer.x) + 0.5, height);
    context.stroke();
    context.globalAlpha = 0.14;
    context.fillStyle = this.view.colours.of("accent");
    if (pointer.pressed !== undefined)
      context.fillRect(
        Math.min(pointer.x, pointer.pressed),
        RULER,
        Math.abs(pointer.x - pointer.pressed),
        height,
      );
    context.globalAlpha = 1;
  }

  /** The moment under a place of the picture. */
  moment(x) {
    return this.view.span.from + Math.max(0, x - this.gutter) / this.scale;
  }
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
