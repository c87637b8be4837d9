// Where the time went, by kind of step.

import { element, reconcile, setProperty, setText } from "./dom.js";
import { duration } from "./format.js";
import { KINDS } from "./steps.js";

export class TimeSpent {
  constructor() {
    this.whole = element("div", { class: "stack", "aria-hidden": "true" });
    this.list = element("ul", { class: "shares" });
    this.node = element(
      "section",
      { class: "panel time", "aria-labelledby": "time-title" },
      element("h2", { id: "time-title" }, "Where the time went"),
      this.whole,
      this.list,
    );
  }

  /** Each kind has its share of the time that finished steps took. */
  show(steps) {
    const kinds = Object.keys(KINDS).filter((kind) => steps.spent.has(kind));
    const total = [...steps.spent.values()].reduce((sum, each) => sum + each, 0) || 1;
    reconcile(this.whole, kinds, (kind) => kind, (kind) => element("span", { "data-kind": kind }), (node, kind) => setProperty(node, "--ratio", steps.spent.get(kind) / total));
    reconcile(this.list, kinds, (kind) => kind, create, (node, kind) => fill(node, steps.spent.get(kind), total));
  }
}

const create = (kind) => element("li", {}, element("span", { class: "key", "data-kind": kind }, KINDS[kind]), element("span", { class: "number" }), element("span", { class: "number quiet" }));

function fill(node, spent, total) {
  setText(node.children[1], duration(spent));
  setText(node.children[2], `${((spent / total) * 100).toFixed(1)} %`);
}
