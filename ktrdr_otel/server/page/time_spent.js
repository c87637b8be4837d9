// Where the time went, by kind of step.

import { element, reconcile, setProperty, setText } from "./dom.js";
import { duration } from "./format.js";

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

  /** Each kind has its share of the time that steps took; unless `at` is null with those under way until then. */
  show(steps, at) {
    const { spent: times, open } = steps.until(at);
    const lanes = steps.lanes.filter((each) => times.has(each.kind));
    const total = [...times.values()].reduce((sum, each) => sum + each, 0) || 1;
    const spent = (each) => times.get(each.kind);
    const key = (each) => each.kind;
    reconcile(this.whole, lanes, key, newShare, (node, each) =>
      setProperty(node, "--ratio", spent(each) / total),
    );
    reconcile(this.list, lanes, key, create, (node, each) => {
      setText(node.children[0], open.has(each.kind) ? `${each.label} (still running)` : each.label);
      fill(node, spent(each), total);
    });
  }
}

const newShare = ({ colour }) => element("span", { "data-kind": colour });
const create = ({ label, colour }) =>
  element(
    "li",
    {},
    element("span", { class: "key", "data-kind": colour }, label),
    element("span", { class: "number" }),
    element("span", { class: "number quiet" }),
  );

function fill(node, spent, total) {
  setText(node.children[1], duration(spent));
  setText(node.children[2], `${((spent / total) * 100).toFixed(1)} %`);
}
