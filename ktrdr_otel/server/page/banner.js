// What is wrong with an operation, in a sentence, with what is known about it.

import { now } from "./api.js";
import { element, reconcile, setText } from "./dom.js";
import { clock, duration, moment, ticking } from "./format.js";
import { ended } from "./status.js";

export class Banner {
  constructor() {
    this.node = element("div", { class: "banners" });
  }

  show(operation) {
    reconcile(this.node, notices(operation), (each) => each.key, create, fill);
  }
}

function notices(operation) {
  const found = [];
  const { stall, error } = operation;
  if (operation.status === "failed")
    found.push({
      key: "failed",
      tone: "bad",
      title: error ? `${error.type}: ${error.message}` : "It failed.",
      text: error?.step ? `at: ${error.step}` : "",
      stack: error?.traceback,
      summary: "Where it broke: the traceback",
    });
  if (operation.status === "lost")
    found.push({
      key: "lost",
      tone: "bad",
      title: "The process is gone.",
      text: operation.lost_reason ?? "Nobody knows why: it left no word.",
    });
  if (operation.status === "cancelled")
    found.push({ key: "cancelled", tone: "note", title: "Cancelled.", text: operation.cancel_reason ?? "" });
  if (!ended(operation)) {
    if (operation.suspended)
      found.push({
        key: "suspended",
        tone: "warn",
        title: "Suspended: a signal has stopped the process.",
        text: "Its clocks stand still until it goes on.",
      });
    else if (operation.stalled) found.push(stalled(operation));
    if ((operation.cancel_reason ?? null) !== null)
      found.push({
        key: "asked",
        tone: "note",
        title: "Asked to stop: it does so at its next step.",
        text: operation.cancel_reason,
      });
  }
  if (stall && (ended(operation) || !operation.stalled)) found.push(stalledOnce(stall));
  return found;
}

function stalled({ stall, last_progress_at: last, message }) {
  const since = moment(stall?.since ?? last);
  const title = `Stalled${since === null ? "" : ` for ${ticking(now() - since)}`}: alive, but no progress.`;
  return {
    key: "stalled",
    tone: "warn",
    title,
    text: [stall?.activity, stall?.step ?? message].filter(Boolean).join(" · "),
    stack: stall?.stack,
  };
}

function stalledOnce({ since, until, step, activity, stack }) {
  const [from, to] = [moment(since), moment(until)];
  const title = `It stalled at ${clock(from)}${to === null ? "" : ` for ${duration(to - from)}`}.`;
  return {
    key: "stalled-once",
    tone: "note",
    title,
    text: [activity, step].filter(Boolean).join(" · "),
    stack,
  };
}

function create({ key }) {
  return element(
    "div",
    { class: "banner", role: "group", "data-notice": key },
    element("p", { class: "banner-title" }),
    element("p", { class: "banner-text" }),
    element(
      "details",
      { hidden: true },
      element("summary", {}),
      element("pre", { tabindex: "0", "aria-label": "Stack" }),
    ),
  );
}

function fill(node, { tone, title, text, stack, summary = "What it was doing: the stack" }) {
  const [heading, words, details] = node.children;
  node.dataset.tone = tone;
  setText(heading, title);
  setText(words, text);
  words.hidden = !text;
  details.hidden = !stack;
  setText(details.firstChild, summary);
  setText(details.lastChild, stack ?? "");
}
