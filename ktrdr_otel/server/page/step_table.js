// The steps that the waterfall shows, as a table: for those who do not see the canvas.

import { element, reconcile, setText } from "./dom.js";
import { clock, duration } from "./format.js";
import { describe } from "./waterfall_rows.js";

const SHOWN = 100;

export class StepTable {
  rows = [];

  constructor() {
    this.body = element("tbody", {});
    this.note = element("p", { class: "quiet" });
    const heading = ["Step", "Began", "Took", "State"].map((each) => element("th", { scope: "col" }, each));
    this.node = element(
      "details",
      { on: { toggle: () => this.show(this.rows) } },
      element("summary", {}, "Steps as a table"),
      this.note,
      element(
        "div",
        { class: "scroll", tabindex: "0", role: "group", "aria-label": "Steps as a table" },
        element("table", {}, element("thead", {}, element("tr", {}, ...heading)), this.body),
      ),
    );
  }

  /** The table shows the newest of the rows, if it is open. */
  show(rows) {
    this.rows = rows;
    if (!this.node.open) return;
    setText(
      this.note,
      rows.length > SHOWN
        ? `The newest ${SHOWN} of the ${rows.length} in view; zoom in or filter for others.`
        : "",
    );
    reconcile(this.body, rows.slice(-SHOWN).reverse(), (row) => row.checkpoint.span_id, create, fill);
  }
}

function create(row) {
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, describe(row)),
    element("td", { class: "number" }, clock(row.start)),
    element("td", { class: "number" }),
    element("td", {}),
  );
}

function fill(node, row) {
  setText(node.children[2], row.end === null ? "" : duration(row.end - row.start));
  setText(node.children[3], row.checkpoint.status);
}
