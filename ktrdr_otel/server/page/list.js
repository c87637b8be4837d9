// The list of operations, newest first, live.

import * as api from "./api.js";
import { announce, element, paced, reconcile, setAttribute, setProperty, setText } from "./dom.js";
import { capital, clock, moment, percent } from "./format.js";
import { condition, ended, fillBadge, heartbeat, newBadge, news, remaining } from "./status.js";
import { follow } from "./stream.js";

const STATUSES = ["", "running", "completed", "failed", "cancelled", "lost"];

export class ListView {
  operations = new Map(); // id -> operation
  filters = { status: "", operation_type: "" };
  next = null;

  constructor() {
    this.status = element(
      "select",
      { id: "filter-status", on: { change: () => this.filter() } },
      ...STATUSES.map((each) => element("option", { value: each }, each ? capital(each) : "Any state")),
    );
    this.type = element("input", {
      id: "filter-type",
      type: "search",
      placeholder: "any type",
      autocomplete: "off",
      on: { change: () => this.filter() },
    });
    this.body = element("tbody", {});
    this.empty = element("p", { class: "notice", hidden: true });
    this.more = element(
      "button",
      { class: "more", hidden: true, on: { click: () => this.load(this.next) } },
      "Older operations",
    );
    this.summary = element("p", { class: "quiet" });
    this.node = element(
      "section",
      { class: "list", "aria-labelledby": "list-title" },
      element(
        "div",
        { class: "list-head" },
        element("h1", { id: "list-title" }, "Operations"),
        this.summary,
        element("label", { for: "filter-status", class: "unseen" }, "State"),
        this.status,
        element("label", { for: "filter-type", class: "unseen" }, "Type"),
        this.type,
      ),
      element("table", { class: "operations", "aria-labelledby": "list-title" }, heading(), this.body),
      this.empty,
      this.more,
    );
    this.draw = paced(() => this.show(), 150);
  }

  open(shell) {
    this.shell = shell;
    shell.title("Operations");
    this.load(null);
    this.stop = follow(api.events(null), {
      event: (name, data) => this.hear(name, data),
      link: (state, text) => shell.link(state, text),
      again: () => this.load(null),
    });
    this.timer = setInterval(this.draw, 1000);
  }

  close() {
    this.stop();
    clearInterval(this.timer);
  }

  filter() {
    this.filters = { status: this.status.value, operation_type: this.type.value.trim() };
    this.operations.clear();
    this.load(null);
  }

  async load(cursor) {
    const filters = this.filters;
    try {
      const page = await api.operations(filters, cursor);
      if (filters !== this.filters) return; // another choice was made meanwhile
      for (const operation of page.operations) this.operations.set(operation.operation_id, operation);
      this.next = page.next;
      this.show();
    } catch (fault) {
      this.shell.fail(fault);
    }
  }

  hear(name, data) {
    if (name !== "state" && name !== "end") return;
    for (const operation of Array.isArray(data.operations) ? data.operations : [data]) this.update(operation);
    this.draw();
  }

  update(operation) {
    const known = this.operations.get(operation.operation_id);
    const told = known && news(known, operation);
    if (told) announce(told);
    const { status, operation_type: type } = this.filters;
    const wanted = (!status || status === operation.status) && (!type || type === operation.operation_type);
    if (wanted) this.operations.set(operation.operation_id, operation);
    else this.operations.delete(operation.operation_id);
  }

  show() {
    const rows = [...this.operations.values()].sort(
      (one, other) => moment(other.started_at) - moment(one.started_at),
    );
    reconcile(this.body, rows, (each) => each.operation_id, newRow, fillRow);
    const running = rows.filter((each) => !ended(each)).length;
    setText(this.summary, rows.length ? `${running} running, ${rows.length} shown` : "");
    this.empty.hidden = rows.length > 0;
    setText(
      this.empty,
      this.status.value || this.type.value
        ? "No operation is like that."
        : "Nothing has run yet. An operation shows here as soon as it begins.",
    );
    this.more.hidden = !this.next;
  }
}

const COLUMNS = ["Operation", "State", "Progress", "Step", "Remaining", "Heartbeat", "Started"];

function heading() {
  return element(
    "thead",
    {},
    element("tr", {}, ...COLUMNS.map((each) => element("th", { scope: "col" }, each))),
  );
}

function newRow({ operation_id: id }) {
  const cell = (name, ...children) =>
    element("td", { class: `c-${name}`, "data-label": capital(name) }, ...children);
  return element(
    "tr",
    {},
    element(
      "th",
      { scope: "row", class: "c-name" },
      element("a", { href: `#/operations/${encodeURIComponent(id)}` }),
      element("span", { class: "id" }, id),
    ),
    cell("state", newBadge()),
    cell(
      "progress",
      element("span", { class: "bar", "aria-hidden": "true" }, element("span", {})),
      element("span", { class: "number" }),
    ),
    cell("step"),
    cell("remaining"),
    cell("heartbeat"),
    cell("started"),
  );
}

function fillRow(row, operation) {
  const [name, state, progress, step, left, beat, started] = row.children;
  row.dataset.condition = condition(operation);
  setText(name.firstChild, operation.name);
  fillBadge(state.firstChild, operation);
  setProperty(progress.firstChild, "--ratio", operation.percentage / 100);
  setText(progress.lastChild, percent(operation.percentage));
  setText(step, stepOf(operation));
  for (const cell of [left, beat]) setAttribute(cell, "data-none", ended(operation));
  setText(left, remaining(operation));
  setText(beat, heartbeat(operation));
  setText(started, clock(moment(operation.started_at)));
}

function stepOf(operation) {
  if (operation.error) return `${operation.error.type}: ${operation.error.message}`;
  return operation.lost_reason ?? operation.message;
}
