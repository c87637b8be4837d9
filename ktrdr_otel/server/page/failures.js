// The steps that failed.

import { element, reconcile, setText } from "./dom.js";
import { clock } from "./format.js";
import { describe } from "./waterfall_rows.js";

const SHOWN = 50;

export class Failures {
  constructor() {
    this.list = element("ol", { class: "failures" });
    this.number = element("span", { class: "quiet" });
    this.node = element(
      "section",
      { class: "panel", "aria-labelledby": "failures-title", hidden: true },
      element("header", {}, element("h2", { id: "failures-title" }, "Errors"), this.number),
      this.list,
    );
  }

  /** The steps that broke, the deepest first: the ones that hold them fail with them. One is lost with `operation`. */
  show(steps, operation) {
    const rows = steps.failures.filter((row) => row.kind !== "container");
    const shown = rows.length ? rows : steps.failures;
    this.node.hidden = shown.length === 0;
    setText(this.number, shown.length > SHOWN ? `the newest ${SHOWN} of ${shown.length}` : "");
    reconcile(
      this.list,
      shown.slice(-SHOWN).reverse(),
      (row) => row.checkpoint.span_id,
      create,
      (node, row) => fill(node, row, steps.warnings.get(row.checkpoint.span_id) ?? [], operation.lost_reason),
    );
  }
}

function create(row) {
  return element(
    "li",
    {},
    element("p", { class: "failure-where" }, describe(row), element("time", {}, clock(row.end))),
    element("p", { class: "failure-what" }),
    element("p", { class: "failure-logged" }),
  );
}

/** What broke it, and what was logged in it as a warning or worse. */
function fill(node, { checkpoint: { error, status } }, warnings, lostReason) {
  const why = status === "lost" && lostReason ? `lost: ${lostReason}` : status;
  setText(node.children[1], error ? `${error.type}: ${error.message}` : why);
  setText(node.lastChild, warnings.map(({ level, message }) => `${level}: ${message}`).join("\n"));
}
