// The symbol x timeframe matrix: a cell per pair, filling up with its load, its indicators and its fuzzy sets.

import { element, reconcile, setAttribute, setProperty, setText } from "./dom.js";
import { ended } from "./status.js";

const PARTS = [
  ["load", "load"],
  ["indicator", "indicators"],
  ["fuzzy", "fuzzy sets"],
];
const ENDS = [
  ["features", "Features"],
  ["labels", "Labels"],
];

export class Matrix {
  constructor() {
    this.head = element("tr", {});
    this.body = element("tbody", {});
    this.number = element("span", { class: "quiet" });
    this.node = element(
      "section",
      { class: "panel matrix", "aria-labelledby": "matrix-title", hidden: true },
      element("header", {}, element("h2", { id: "matrix-title" }, "Symbols × timeframes"), this.number),
      element(
        "div",
        { class: "scroll", tabindex: "0", role: "group", "aria-labelledby": "matrix-title" },
        element("table", {}, element("thead", {}, this.head), this.body),
      ),
      element(
        "p",
        { class: "legend", "aria-hidden": "true" },
        ...PARTS.map(([kind, word]) => element("span", { class: "key", "data-kind": kind }, word)),
      ),
    );
  }

  /** The cells show what the steps have counted; those of `operation`'s current step are marked. */
  show(steps, operation) {
    const context = operation.context ?? {};
    const total = Number(context.total_symbols) || steps.symbols.size;
    this.node.hidden = total === 0;
    if (total === 0) return;
    const running = !ended(operation);
    const rows = [...steps.symbols.values()];
    // Those that have not come up have no name yet, but they will come.
    if (running)
      for (let index = rows.length + 1; index <= Math.min(total, 1000); index += 1)
        rows.push({ name: null, index });
    const frames = [...steps.timeframes];
    setText(this.number, `${steps.symbols.size} of ${Math.max(total, steps.symbols.size)} symbols`);
    const columns = ["", ...frames.map((each) => `t ${each}`), ...ENDS.map(([, word]) => word)];
    reconcile(
      this.head,
      columns,
      (each) => each,
      newColumn,
      () => {},
    );
    const here = running && context.symbol ? `${context.symbol} ${context.timeframe ?? ""}` : null;
    reconcile(
      this.body,
      rows,
      (each) => (each.name === null ? `# ${each.index}` : `s ${each.name}`),
      newRow,
      (node, symbol) => fillRow(node, symbol, frames, here),
    );
  }
}

function newColumn(column) {
  if (column === "") return element("td", {});
  return element("th", { scope: "col" }, column.startsWith("t ") ? column.slice(2) : column);
}

function newRow(symbol) {
  const title = symbol.name ?? "–";
  return element(
    "tr",
    { class: symbol.name === null ? "to-come" : null },
    element("th", { scope: "row", title }, title),
  );
}

function fillRow(row, symbol, frames, here) {
  const cells = [
    ...frames.map((frame) => ({
      key: `t ${frame}`,
      cell: symbol.timeframes?.get(frame),
      here: here === `${symbol.name} ${frame}`,
    })),
    ...ENDS.map(([key]) => ({ key, cell: symbol[key], end: true })),
  ];
  row.keyed ??= new Map([["name", row.firstElementChild]]);
  reconcile(row, [{ key: "name" }, ...cells], (each) => each.key, newCell, fillCell);
}

function newCell({ end }) {
  if (end) return element("td", { class: "end" });
  const fill = ([kind]) =>
    element("span", { class: "fill", "data-kind": kind }, element("span", { class: "fill-words" }));
  return element("td", { class: "cell" }, ...PARTS.map(fill));
}

function fillCell(node, { key, cell, here, end }) {
  if (key === "name") return;
  if (end) {
    const state = cell?.failed ? cell.failed : cell?.done ? "done" : "waiting";
    node.dataset.state = state;
    setText(node, state === "waiting" ? "" : state);
    return;
  }
  const parts = cell ? PARTS.map(([kind, word]) => ({ ...cell[kind], word })) : [];
  const failed = parts.find((each) => each.failed)?.failed;
  const done = parts.length > 0 && parts.every((each) => each.total !== null && each.done >= each.total);
  node.dataset.state = failed
    ? failed
    : done
      ? "done"
      : here
        ? "active"
        : parts.length
          ? "partly"
          : "waiting";
  for (const [index, bar] of [...node.children].entries()) {
    const { done: finished = 0, total = null, failed: broken, word } = parts[index] ?? {};
    setProperty(bar, "--ratio", total ? Math.min(finished / total, 1) : 0);
    const counted = index > 0 && total !== null ? `${finished}/${total}` : "";
    // A load has no room for words.
    const otherwise = index > 0 && (broken ?? (index === 1 ? parts[0]?.failed : null));
    setText(bar.firstChild, otherwise || counted);
    setAttribute(bar, "title", total === null || !word ? null : `${word} ${finished} of ${total}`);
  }
}
