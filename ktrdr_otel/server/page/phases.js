// One bar per phase of the plan.

import { element, reconcile, setAttribute, setProperty, setText } from "./dom.js";
import { capital, count, words } from "./format.js";
import { ended } from "./status.js";

// What the live state calls the phase, where the plan has another word.
const IN_THE_PLAN = {
  epoch: "training",
  batch: "training",
  indicator_computation: "preprocessing",
  fuzzy_generation: "preprocessing",
};

export class Phases {
  constructor() {
    this.list = element("ul", { class: "phases" });
    this.node = element(
      "section",
      { class: "panel", "aria-labelledby": "phases-title" },
      element("h2", { id: "phases-title" }, "Phases"),
      this.list,
    );
  }

  /** The bars show what the operation's plan says; without one, the phase that it names. */
  show(operation) {
    const phases = Object.entries(operation.phases ?? {}).map(([name, units]) => ({ name, ...units }));
    if (!phases.length && operation.phase)
      phases.push({
        name: operation.phase,
        completed: operation.items_completed,
        planned: operation.items_planned,
      });
    reconcile(
      this.list,
      phases,
      (each) => each.name,
      create,
      (node, phase) => fill(node, phase, operation),
    );
  }
}

function create({ name }) {
  const label = element("span", { class: "phase-name" }, capital(words(name)));
  const bar = element(
    "span",
    { class: "bar", role: "progressbar", "aria-valuemin": 0, "aria-label": capital(words(name)) },
    element("span", {}),
  );
  return element("li", {}, label, element("span", { class: "number" }), bar);
}

function fill(node, { name, completed, planned }, operation) {
  const [, number, bar] = node.children;
  const known = typeof planned === "number" && planned > 0;
  const ratio = known ? Math.min(completed / planned, 1) : 0;
  setText(number, known ? `${count(completed)} / ${count(planned)}` : count(completed));
  setProperty(bar, "--ratio", ratio);
  setAttribute(bar, "aria-valuemax", known ? planned : null);
  setAttribute(bar, "aria-valuenow", completed);
  const here = !ended(operation) && (IN_THE_PLAN[operation.phase] ?? operation.phase) === name;
  node.dataset.state = ratio >= 1 ? "done" : here ? "active" : "waiting";
}
