// One measure over time as a small line, with the line that it should stay below.

import { element, setAttribute, setText, svg } from "./dom.js";
import { moment } from "./format.js";

const WIDTH = 100;
const HEIGHT = 30;

export class Sparkline {
  constructor(title) {
    this.title = title;
    this.words = element("span", { class: "quiet" });
    this.limit = svg("path", { class: "limit" });
    this.line = svg("path", { class: "line train" });
    this.picture = svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, height: 34, preserveAspectRatio: "none", role: "img" },
      this.limit,
      this.line,
    );
    this.node = element(
      "figure",
      { hidden: true },
      element("figcaption", {}, element("span", { class: "say-title" }, title), this.words),
      this.picture,
    );
  }

  /** The line goes through the samples, from nothing at the bottom to what is most at the top: `least`, or the limit. */
  show(samples, { value, least = 1, limit = null, words }) {
    this.node.hidden = samples.length === 0;
    if (!samples.length) return;
    const at = (each) => moment(each.at);
    const [first, last] = [at(samples[0]), at(samples.at(-1))];
    const top = Math.max(least, limit ?? 0, ...samples.map(value));
    const x = (each) => (last > first ? ((at(each) - first) / (last - first)) * WIDTH : 0);
    const y = (amount) => HEIGHT - 1 - (amount / top) * (HEIGHT - 2);
    const points = samples.map((each) => `${x(each).toFixed(2)} ${y(value(each)).toFixed(2)}`);
    // A single sample is a line as well: it was so all along, as far as anyone knows.
    setAttribute(this.line, "d", points.length === 1 ? `M${points[0]}h${WIDTH}` : `M${points.join("L")}`);
    setAttribute(this.limit, "d", limit === null ? "" : `M0 ${y(limit).toFixed(2)}h${WIDTH}`);
    setAttribute(this.picture, "aria-label", `${this.title}: ${words}`);
    setText(this.words, words);
  }
}
