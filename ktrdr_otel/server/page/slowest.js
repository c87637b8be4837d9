// The items that took the most time, added up over symbols and timeframes.

import { element, reconcile, setProperty, setText } from "./dom.js";
import { count, duration } from "./format.js";

const SHOWN = 10;

export class Slowest {
  by = "total";

  constructor(redraw) {
    this.body = element("tbody", {});
    const choose = (by, text) =>
      element(
        "button",
        {
          type: "button",
          "aria-pressed": String(by === this.by),
          on: { click: () => this.choose(by, redraw) },
        },
        text,
      );
    this.buttons = { total: choose("total", "in total"), longest: choose("longest", "at once") };
    this.node = element(
      "section",
      { class: "panel slowest", "aria-labelledby": "slowest-title" },
      element(
        "header",
        {},
        element("h2", { id: "slowest-title" }, "Slowest items"),
        element(
          "span",
          { class: "choice", role: "group", "aria-label": "Order" },
          ...Object.values(this.buttons),
        ),
      ),
      element(
        "table",
        { "aria-labelledby": "slowest-title" },
        element(
          "thead",
          {},
          element(
            "tr",
            {},
            ...["Item", "Kind", "Times", "Longest", "Total"].map((each) =>
              element("th", { scope: "col" }, each),
            ),
          ),
        ),
        this.body,
      ),
    );
  }

  choose(by, redraw) {
    this.by = by;
    for (const [name, button] of Object.entries(this.buttons))
      button.setAttribute("aria-pressed", String(name === by));
    redraw();
  }

  /** The table shows the items of the steps so far; unless `at` is null with those that are under way then. */
  show(steps, at) {
    const items = [...steps.until(at).items.values()]
      .sort((one, other) => other[this.by] - one[this.by])
      .slice(0, SHOWN);
    const most = items[0]?.[this.by] || 1;
    reconcile(
      this.body,
      items,
      (each) => each.key,
      create,
      (node, item) => fill(node, item, item[this.by] / most),
    );
  }
}

function create({ name, label, colour }) {
  return element(
    "tr",
    {},
    element("th", { scope: "row", title: name }, name),
    element("td", { class: "kind" }, element("span", { class: "key", "data-kind": colour }, label)),
    ...["times", "longest", "total"].map((each) => element("td", { class: `number ${each}` })),
  );
}

function fill(row, item, ratio) {
  const [name, , times, longest, total] = row.children;
  // In front: what is too long is cut off at its end.
  setText(name, item.open ? `still running: ${item.name}` : item.name);
  setProperty(name, "--ratio", ratio);
  setText(times, count(item.count));
  setText(longest, duration(item.longest));
  setText(total, duration(item.total));
}
