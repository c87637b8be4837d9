// The head of an operation's page: what it is, how far, what it does, when it is done.

import { element, reconcile, safeLink, setAttribute, setProperty, setText } from "./dom.js";
import { capital, clock, count, duration, moment, percent, ticking, words } from "./format.js";
import { CancelButton } from "./cancel.js";
import { ago, elapsed, ended, fillBadge, heartbeat, newBadge, remaining } from "./status.js";

const LINKS = [
  ["trace", "Trace"],
  ["dashboard", "Dashboard"],
];

export class Hero {
  constructor(id) {
    this.badge = newBadge();
    this.name = element("h1", {});
    this.cancel = new CancelButton(id);
    this.links = element("span", { class: "links" });
    this.percent = element("p", { class: "percent" });
    this.message = element("p", { class: "message" });
    this.bar = element(
      "span",
      {
        class: "bar thick",
        role: "progressbar",
        "aria-label": "Progress",
        "aria-valuemin": 0,
        "aria-valuemax": 100,
      },
      element("span", {}),
    );
    this.facts = element("dl", { class: "facts" });
    this.node = element(
      "section",
      { class: "hero", "aria-label": "Operation" },
      element(
        "div",
        { class: "hero-title" },
        this.name,
        this.badge,
        element("span", { class: "id" }, id),
        element("span", { class: "hero-do" }, this.links, this.cancel.node),
      ),
      element("div", { class: "hero-now" }, this.percent, this.message, this.facts),
      this.bar,
    );
  }

  /** The head says what the operation's record says. */
  show(operation) {
    setText(this.name, operation.name);
    fillBadge(this.badge, operation);
    setText(this.percent, percent(operation.percentage));
    setText(this.message, operation.message || capital(words(operation.phase ?? "")));
    setProperty(this.bar, "--ratio", operation.percentage / 100);
    setAttribute(this.bar, "aria-valuenow", operation.percentage.toFixed(1));
    setAttribute(this.bar, "aria-valuetext", `${percent(operation.percentage)}, ${operation.message}`);
    this.node.dataset.condition = this.badge.dataset.condition;
    reconcile(this.facts, facts(operation), ([term]) => term, newFact, fillFact);
    this.cancel.show(operation);
    const links = LINKS.map(([key, word]) => ({ key, word, href: safeLink(operation.links?.[key]) })).filter(
      (each) => each.href,
    );
    reconcile(
      this.links,
      links,
      (each) => each.key,
      newLink,
      (node, { href }) => setAttribute(node, "href", href),
    );
  }
}

function facts(operation) {
  const { items_completed: done, items_planned: planned } = operation;
  const over = ended(operation);
  return [
    over ? ["Took", duration(elapsed(operation))] : ["Elapsed", ticking(elapsed(operation))],
    over ? ["Ended", clock(moment(operation.ended_at))] : ["Remaining", remaining(operation)],
    ["Units", planned ? `${count(done)} / ${count(planned)}` : count(done)],
    ["Last progress", over ? clock(moment(operation.last_progress_at)) : ago(operation.last_progress_at)],
    ...(over ? [] : [["Heartbeat", heartbeat(operation)]]),
    ["Started", clock(moment(operation.started_at))],
    ["Type", operation.operation_type],
  ];
}

const newFact = ([term]) => element("div", {}, element("dt", {}, term), element("dd", {}));
const fillFact = (node, [, text]) => setText(node.lastChild, text);
const newLink = ({ word }) =>
  element("a", { class: "button", target: "_blank", rel: "noopener noreferrer" }, `${word} ↗`);
