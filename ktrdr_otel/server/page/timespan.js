// The part of an operation's time that is looked at.

const SHORTEST = 0.05; // ms

export class Timespan {
  from = 0;
  to = 1;
  whole = true; // all of it, also as it grows
  #start = 0;
  #end = 1;

  /** The operation lasts from `start` to `end` by now. */
  bound(start, end) {
    this.#start = start;
    this.#end = Math.max(end, start + 1);
    if (this.whole) this.all();
  }

  /** All of it is in view. */
  all() {
    [this.from, this.to, this.whole] = [this.#start, this.#end, true];
  }

  /** What lies between the two is in view. */
  show(from, to) {
    const length = Math.max(Math.abs(to - from), SHORTEST);
    if (length >= this.#end - this.#start) return this.all();
    const first = Math.min(Math.max(Math.min(from, to), this.#start), this.#end - length);
    [this.from, this.to, this.whole] = [first, first + length, false];
  }

  /** `factor` of what is in view is in view, around `at`. */
  zoom(factor, at = (this.from + this.to) / 2) {
    this.show(at - (at - this.from) * factor, at + (this.to - at) * factor);
  }

  /** Moved by a part of what is in view. */
  pan(part) {
    const by = (this.to - this.from) * part;
    const kept = Math.min(Math.max(by, this.#start - this.from), this.#end - this.to);
    if (!this.whole) this.show(this.from + kept, this.to + kept);
  }

  get start() {
    return this.#start;
  }

  get end() {
    return this.#end;
  }

  get length() {
    return this.to - this.from;
  }
}
