// The last records that the program has logged, with the step of each.

import { element, reconcile, setText } from "./dom.js";
import { moment } from "./format.js";
import { condition } from "./status.js";

// Python's names for what is a warning or worse; a program's own names are shown without a tone.
const TONES = { WARNING: "warn", ERROR: "bad", CRITICAL: "bad", FATAL: "bad" };
const WRONG = new Set(["failed", "lost", "stalled"]);

/** Whether the record is a warning or worse. */
export const isWarning = ({ level }) => Object.hasOwn(TONES, level);

export class Logs {
  opened = false; // by itself, once: who closes it has it closed

  constructor(looked) {
    this.number = element("span", { class: "quiet" });
    this.list = element("ol", { class: "logs" });
    this.details = element(
      "details",
      { on: { toggle: () => this.details.open && looked() } },
      element("summary", {}, element("h2", { id: "logs-title" }, "Log"), this.number),
      element(
        "div",
        { class: "scroll", tabindex: "0", role: "group", "aria-labelledby": "logs-title" },
        this.list,
      ),
    );
    this.node = element(
      "section",
      { class: "panel log", "aria-labelledby": "logs-title", hidden: true },
      this.details,
    );
  }

  /** The records are listed, the newest at the end and in view; of a run that went wrong without being asked. */
  show(records, operation) {
    this.node.hidden = records.length === 0;
    if (!this.opened && WRONG.has(condition(operation))) this.details.open = this.opened = true;
    const warnings = records.filter(isWarning).length;
    const many = `${records.length} ${records.length === 1 ? "record" : "records"}`;
    setText(this.number, warnings ? `${many}, ${warnings} of them warnings or worse` : many);
    if (!this.details.open) return;
    const box = this.list.parentElement;
    const stays = box.scrollTop + box.clientHeight >= box.scrollHeight - 4;
    reconcile(
      this.list,
      records,
      (each) => each.sequence,
      create,
      () => {},
    );
    if (stays) box.scrollTop = box.scrollHeight;
  }
}

function create({ at, level, logger, message, step }) {
  return element(
    "li",
    { "data-tone": Object.hasOwn(TONES, level) ? TONES[level] : "none" },
    element("time", { datetime: at }, new Date(moment(at)).toLocaleTimeString("en-GB")),
    element("span", { class: "log-level" }, level),
    element("span", { class: "log-message" }, message),
    element("span", { class: "quiet" }, step === null ? logger : `${logger} · ${step}`),
  );
}
