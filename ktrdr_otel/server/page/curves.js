// Loss and accuracy over the epochs, training and validation.

import { Chart } from "./chart.js";
import { element, reconcile, setText } from "./dom.js";
import { value } from "./format.js";

const CURVES = [
  { title: "Loss", train: "loss", validation: "val_loss", best: Math.min },
  { title: "Accuracy", train: "accuracy", validation: "val_accuracy", best: Math.max },
];

export class Curves {
  drawn = -1;

  constructor() {
    this.charts = CURVES.map((curve) => new Chart(curve));
    this.last = element("span", { class: "quiet" });
    this.rows = element("tbody", {});
    this.details = element(
      "details",
      { on: { toggle: () => this.table() } },
      element("summary", {}, "As a table"),
      element(
        "div",
        { class: "scroll", tabindex: "0", role: "group", "aria-label": "Values of each epoch" },
        element(
          "table",
          {},
          element(
            "thead",
            {},
            element(
              "tr",
              {},
              ...["Epoch", ...COLUMNS.map(([, word]) => word)].map((each) =>
                element("th", { scope: "col" }, each),
              ),
            ),
          ),
          this.rows,
        ),
      ),
    );
    this.node = element(
      "section",
      { class: "panel curves", "aria-labelledby": "curves-title", hidden: true },
      element("header", {}, element("h2", { id: "curves-title" }, "Training curves"), this.last),
      element("div", { class: "charts" }, ...this.charts.map((each) => each.node)),
      element(
        "p",
        { class: "legend", "aria-hidden": "true" },
        element("span", { class: "key", "data-curve": "train" }, "training"),
        element("span", { class: "key", "data-curve": "validation" }, "validation"),
        element("span", { class: "key", "data-curve": "best" }, "best"),
      ),
      this.details,
    );
  }

  /** The curves show every epoch that the steps know. */
  show(steps) {
    this.node.hidden = steps.epochs.size === 0;
    this.epochs = [...steps.epochs.values()].sort((one, other) => one.number - other.number);
    if (!this.epochs.length) return;
    const rate = this.epochs.at(-1).learning_rate;
    setText(
      this.last,
      `epoch ${this.epochs.at(-1).number}${rate === undefined ? "" : ` · learning rate ${value(rate)}`}`,
    );
    for (const chart of this.charts) chart.show(this.epochs);
    this.table();
  }

  close() {
    for (const chart of this.charts) chart.sizes.disconnect();
  }

  table() {
    if (!this.details.open) return;
    reconcile(this.rows, this.epochs, (each) => each.number, newRow, fillRow);
  }
}

const COLUMNS = [
  ["loss", "Loss"],
  ["val_loss", "Validation loss"],
  ["accuracy", "Accuracy"],
  ["val_accuracy", "Validation accuracy"],
  ["learning_rate", "Learning rate"],
];
const newRow = ({ number }) =>
  element(
    "tr",
    {},
    element("th", { scope: "row" }, String(number)),
    ...COLUMNS.map(() => element("td", { class: "number" })),
  );
const fillRow = (row, epoch) =>
  COLUMNS.forEach(([key], index) => setText(row.children[index + 1], value(epoch[key])));
