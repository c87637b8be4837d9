// The steps of one operation and what is counted from them. A step may be told twice and in any order:
// the page reads them from two sources (REST and the stream), and counts each finished one once.

import { capital, moment, words } from "./format.js";

// What a step of a training is, in the order of the lanes.
const KINDS = {
  load: "Loading",
  indicator: "Indicators",
  fuzzy: "Fuzzy sets",
  shape: "Features and labels",
  preparation: "Preparation",
  epoch: "Epochs",
  evaluation: "Evaluation",
  hold: "Holds",
};

const KIND_OF_TYPE = {
  indicator_computation: "indicator",
  fuzzy_generation: "fuzzy",
  preparation: "preparation",
  epoch: "epoch",
  evaluation: "evaluation",
  hold: "hold",
};

const STRANGERS = 6; // colours for kinds that only the observed program knows

/** The kind of a checkpoint: one of a training's, `container` for what only holds others, else its own word. */
function kindOf(checkpoint) {
  const type = checkpoint.progress_type;
  if (type === null) return "container";
  if (type === "preprocessing") return checkpoint.step === "loading_data" ? "load" : "shape";
  // A word of a stranger that is also one of ours is not ours.
  return Object.hasOwn(KIND_OF_TYPE, type) ? KIND_OF_TYPE[type] : `word ${type}`;
}

// Beyond so many the oldest leave the waterfall; what is counted from them stays counted.
const KEPT = 50_000;

export class Steps {
  kinds = new Map(); // kind -> { kind, label, colour }, of what has been seen
  rows = []; // by start; a container before what it holds
  left = 0; // how many were kept once
  symbols = new Map(); // name -> { name, timeframes: Map, features, labels }
  timeframes = new Set();
  items = new Map(); // kind and name -> { kind, name, count, total, longest }
  spent = new Map(); // kind -> milliseconds
  epochs = new Map(); // number -> { number, loss, ... }
  failures = [];
  warnings = new Map(); // span id -> log records, of those that warn
  version = 0; // rises with every change
  #bySpan = new Map();
  #open = new Set(); // rows that have not ended; containers are none

  /** The checkpoints are among the steps. */
  add(checkpoints) {
    const fresh = [];
    for (const checkpoint of checkpoints) {
      const known = this.#bySpan.get(checkpoint.span_id);
      if (known && (known.end !== null || checkpoint.ended_at === null)) continue;
      const row = known ?? this.#row(checkpoint);
      if (!known) fresh.push(row);
      row.checkpoint = checkpoint;
      row.end = moment(checkpoint.ended_at);
      if (row.end === null && row.kind !== "container") this.#open.add(row);
      else this.#open.delete(row);
      if (row.end !== null) this.#count(row);
      else this.#cell(row, (cell, part) => (cell[part].total = checkpoint.item_total ?? cell[part].total));
      this.version += 1;
    }
    this.#place(fresh);
  }

  /** The values of epochs, as the server's history has them. */
  learn(history) {
    for (const { epoch, ...values } of history) if (epoch !== null) this.#epoch(epoch + 1, values);
    if (history.length) this.version += 1;
  }

  /** These records are all that is known of what was logged as a warning or worse. */
  warn(records) {
    this.warnings = new Map();
    for (const record of records) {
      const known = this.warnings.get(record.span_id);
      if (known) known.push(record);
      else this.warnings.set(record.span_id, [record]);
    }
  }

  /** The kinds that have been seen: a training's in their order, then others as they came. */
  get lanes() {
    const known = Object.keys(KINDS).filter((kind) => this.kinds.has(kind));
    const strange = [...this.kinds.keys()].filter(
      (kind) => !Object.hasOwn(KINDS, kind) && kind !== "container",
    );
    return [...known, ...strange].map((kind) => this.kinds.get(kind));
  }

  /** The step's holder, or undefined. */
  parent(row) {
    return this.#bySpan.get(row.checkpoint.parent_span_id);
  }

  /** Whether a step is under way. */
  get isOpen() {
    return this.#open.size > 0;
  }

  /** `items` and `spent`; unless `at` is null those under way have taken their time until then, and are `open`. */
  until(at) {
    if (at === null) return { items: this.items, spent: this.spent, open: new Set() };
    const items = new Map(this.items);
    const spent = new Map(this.spent);
    const open = new Set(); // kinds
    for (const row of this.#open) {
      const length = Math.max(at - row.start, 0);
      const item = this.#item(row, length, items);
      items.set(item.key, { ...item, open: true });
      spent.set(row.kind, (spent.get(row.kind) ?? 0) + length);
      open.add(row.kind);
    }
    return { items, spent, open };
  }

  #row(checkpoint) {
    const { kind, colour } = this.#kind(checkpoint);
    const row = {
      checkpoint,
      kind,
      colour: `kind-${colour}`,
      start: moment(checkpoint.started_at),
      end: null,
    };
    this.#bySpan.set(checkpoint.span_id, row);
    return row;
  }

  #kind(checkpoint) {
    const kind = kindOf(checkpoint);
    let known = this.kinds.get(kind);
    if (known) return known;
    const ours = kind === "container" || Object.hasOwn(KINDS, kind);
    const label = ours ? KINDS[kind] : capital(words(checkpoint.progress_type));
    const strange = [...this.kinds.values()].filter((each) => each.colour.startsWith("other-")).length;
    known = { kind, label, colour: ours ? kind : `other-${strange % STRANGERS}` };
    this.kinds.set(kind, known);
    return known;
  }

  #place(fresh) {
    if (fresh.length > 64) this.rows = this.rows.concat(fresh).sort(order);
    else this.#insert(fresh);
    // Some more than there have to, so that it is seldom; those that are open are still to be told as finished.
    if (this.rows.length > KEPT * 1.1) this.#leave(this.rows.length - KEPT);
  }

  #leave(many) {
    const leaving = new Set(this.rows.slice(0, many).filter((row) => row.end !== null));
    for (const row of leaving) this.#bySpan.delete(row.checkpoint.span_id);
    this.rows = this.rows.filter((row) => !leaving.has(row));
    this.left += leaving.size;
  }

  #insert(fresh) {
    // Nearly all come at the end.
    for (const row of fresh) {
      let place = this.rows.length;
      while (place > 0 && order(this.rows[place - 1], row) > 0) place -= 1;
      this.rows.splice(place, 0, row);
    }
  }

  #count(row) {
    const { checkpoint, kind } = row;
    if (checkpoint.status === "failed" || checkpoint.status === "lost") this.failures.push(row);
    if (kind === "container") return;
    const length = row.end - row.start;
    this.spent.set(kind, (this.spent.get(kind) ?? 0) + length);
    const item = this.#item(row, length, this.items);
    this.items.set(item.key, item);
    if (kind === "epoch") this.#epoch(checkpoint.item_index, checkpoint.metrics);
    const failed = checkpoint.status !== "completed";
    this.#cell(row, (cell, part) => {
      cell[part].total = checkpoint.item_total ?? cell[part].total;
      if (failed) cell[part].failed = checkpoint.status;
      else cell[part].done += 1;
    });
  }

  /** What the row is one of, as it is with the row. */
  #item({ checkpoint, kind }, length, items) {
    const name =
      kind === "epoch" ? "epoch" : (checkpoint.item_name ?? checkpoint.step ?? checkpoint.progress_type);
    const key = `${kind} ${name}`;
    const { count = 0, total = 0, longest = 0, open = false } = items.get(key) ?? {};
    return {
      key,
      ...this.kinds.get(kind),
      name,
      count: count + 1,
      total: total + length,
      longest: Math.max(longest, length),
      open,
    };
  }

  #epoch(number, values) {
    if (number === null || !values) return;
    this.epochs.set(number, { ...this.epochs.get(number), ...values, number });
  }

  #cell({ checkpoint, kind }, change) {
    if (checkpoint.symbol === null) return;
    let symbol = this.symbols.get(checkpoint.symbol);
    if (!symbol) this.symbols.set(checkpoint.symbol, (symbol = newSymbol(checkpoint.symbol)));
    if (kind === "shape")
      return change(symbol, checkpoint.step === "creating_features" ? "features" : "labels");
    if (checkpoint.timeframe === null) return;
    this.timeframes.add(checkpoint.timeframe);
    let cell = symbol.timeframes.get(checkpoint.timeframe);
    if (!cell) symbol.timeframes.set(checkpoint.timeframe, (cell = newCell()));
    if (kind in cell) change(cell, kind);
  }
}

const part = (total) => ({ done: 0, total, failed: null }); // `failed`: how one of them ended otherwise
const newCell = () => ({ load: part(1), indicator: part(null), fuzzy: part(null) });
const newSymbol = (name) => ({ name, timeframes: new Map(), features: part(1), labels: part(1) });

/** By start; of two that start together the one that holds the other first. */
function order(one, other) {
  return one.start - other.start || Number(other.kind === "container") - Number(one.kind === "container");
}
