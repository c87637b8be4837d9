// Which rows a waterfall shows, and what they are called.

import { words } from "./format.js";

/** The rows that touch the span of time and hold the text. */
export function rowsWithin(steps, { from, to }, text) {
  const wanted = text.toLowerCase();
  return steps.rows.filter(
    (row) =>
      row.start <= to &&
      (row.end ?? Infinity) >= from &&
      (wanted === "" || describe(row).toLowerCase().includes(wanted)),
  );
}

/** What the row is: `computing indicator rsi_7 · AAPL · 1d · 3/40`. */
export function describe({ checkpoint, kind }) {
  const { name, symbol, timeframe, item_name: item, item_index: index, item_total: total } = checkpoint;
  const parts = [title({ checkpoint, kind })];
  const said = (name) => parts[0].includes(name);
  if (symbol !== null && name !== `symbol ${symbol}`) parts.push(symbol);
  if (timeframe !== null && name !== `timeframe ${timeframe}`) parts.push(timeframe);
  if (item !== null && !said(item)) parts.push(item);
  if (index !== null && kind !== "epoch") parts.push(total === null ? String(index) : `${index}/${total}`);
  return parts.join(" · ");
}

/** The name beside the bar; where there is little room, of a named item the name alone: its colour tells its kind. */
export function title({ checkpoint, kind }, short = false) {
  const { name, step, item_name: item, item_index: index, item_total: total } = checkpoint;
  if (kind === "epoch") return `epoch ${index ?? ""}${total === null ? "" : `/${total}`}`;
  if (short && item !== null) return item;
  if (item !== null && (kind === "indicator" || kind === "fuzzy"))
    return `${words(step ?? name.split(" ")[0])} ${item}`;
  if (item !== null && !name.includes(item)) return `${words(name)} ${item}`;
  return kind === "container" ? name : words(name);
}

/** How far the row is indented. What it is below is known before the holder's own row arrives. */
export function depth(steps, row) {
  const { symbol, timeframe } = row.checkpoint;
  if (row.checkpoint.parent_span_id === null) return 0;
  if (symbol !== null)
    return row.kind !== "container" ? (timeframe === null ? 2 : 3) : timeframe === null ? 1 : 2;
  if (row.kind === "epoch") return 2;
  let level = 1;
  for (
    let holder = steps.parent(row);
    holder && holder.checkpoint.parent_span_id !== null && level < 12;
    holder = steps.parent(holder)
  )
    level += 1;
  return level;
}
