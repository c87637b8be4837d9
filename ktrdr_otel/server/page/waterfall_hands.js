// What mouse, wheel and keys do to the waterfall.

import { ROW, RULER } from "./waterfall_picture.js";

export class Hands {
  constructor(view) {
    this.view = view;
    const { box } = view;
    box.addEventListener("scroll", () => view.redraw());
    box.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    box.addEventListener("keydown", (event) => this.key(event));
    box.addEventListener("pointerdown", (event) => this.press(event));
    box.addEventListener("pointermove", (event) => this.move(event));
    box.addEventListener("pointerup", (event) => this.release(event));
    box.addEventListener("pointerleave", () => this.leave());
    box.addEventListener("dblclick", () => (view.span.all(), view.refresh()));
  }

  wheel(event) {
    const sideways = event.shiftKey ? event.deltaY : event.deltaX;
    const { span, picture, box } = this.view;
    const upright = event.shiftKey ? 0 : event.deltaY;
    if (event.ctrlKey || event.metaKey) {
      span.zoom(
        Math.exp(event.deltaY * 0.01),
        picture.moment(event.clientX - box.getBoundingClientRect().left),
      );
    } else if (Math.abs(sideways) > Math.abs(upright) && !span.whole) span.pan(sideways / 800);
    else return; // the browser scrolls
    event.preventDefault();
    this.view.refresh();
  }

  key(event) {
    const { span } = this.view;
    const moves = {
      ArrowLeft: () => span.pan(-0.2),
      ArrowRight: () => span.pan(0.2),
      "+": () => span.zoom(0.5),
      "=": () => span.zoom(0.5),
      "-": () => span.zoom(2),
      0: () => span.all(),
      ArrowUp: () => this.choose(-1),
      ArrowDown: () => this.choose(1),
      Escape: () => (this.view.selected = null),
    };
    const move = event.ctrlKey || event.metaKey || event.altKey ? undefined : moves[event.key];
    if (!move) return;
    event.preventDefault();
    move();
    this.view.refresh();
  }

  choose(by) {
    const { view } = this;
    const place = view.rows.indexOf(view.selected);
    const first = Math.ceil(view.box.scrollTop / ROW);
    const next = place < 0 ? first : Math.min(Math.max(place + by, 0), view.rows.length - 1);
    [view.selected, view.hovered] = [view.rows[next] ?? null, null];
    const room = view.box.clientHeight - RULER;
    if (next * ROW < view.box.scrollTop) view.box.scrollTop = next * ROW;
    else if ((next + 1) * ROW > view.box.scrollTop + room) view.box.scrollTop = (next + 1) * ROW - room;
  }

  press(event) {
    this.move(event);
    const { x } = this.view.pointer;
    const outside = x < this.view.picture.gutter || x > this.view.box.clientWidth; // names, the scrollbar
    if (outside || event.pointerType === "touch" || event.button !== 0) return; // a finger scrolls
    this.view.pointer.pressed = x;
    this.view.box.setPointerCapture(event.pointerId);
  }

  move(event) {
    const box = this.view.box.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    this.view.pointer = { ...this.view.pointer, x };
    const row = Math.floor((y - RULER + this.view.box.scrollTop) / ROW);
    this.view.hovered = y > RULER ? (this.view.rows[row] ?? null) : null;
    this.view.redraw();
  }

  release() {
    const { x, pressed } = this.view.pointer ?? {};
    if (this.view.pointer) delete this.view.pointer.pressed;
    if (pressed !== undefined && Math.abs(x - pressed) > 4) {
      this.view.span.show(this.view.picture.moment(pressed), this.view.picture.moment(x));
    } else this.view.selected = this.view.hovered;
    this.view.refresh();
  }

  leave() {
    if (this.view.pointer?.pressed !== undefined) return;
    [this.view.pointer, this.view.hovered] = [null, null];
    this.view.redraw();
  }
}
