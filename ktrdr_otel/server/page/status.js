// How an operation stands, in words and marks that need no colour.

import { now } from "./api.js";
import { element, setText } from "./dom.js";
import { moment, ticking } from "./format.js";

const TERMINAL = new Set(["completed", "failed", "cancelled", "lost"]);

/** Whether the operation has ended. */
export const ended = (operation) => TERMINAL.has(operation.status);

/** The one word that says it: what a running operation suffers from comes before "running". */
export function condition(operation) {
  if (operation.status !== "running") return operation.status;
  if (operation.suspended) return "suspended";
  if (operation.stalled) return "stalled";
  return operation.slow ? "slow" : "running";
}

/** The change as it is said aloud, or null: slow steps come and go too often to be told. */
export function news(before, after) {
  const [was, is] = [before, after].map((each) => condition(each).replace("slow", "running"));
  return was === is ? null : `${after.name}: ${is}${after.error ? `, ${after.error.type}` : ""}`;
}

/** An empty badge. */
export const newBadge = () => element("span", { class: "badge" });

/** The badge says the operation's condition. */
export function fillBadge(badge, operation) {
  const word = condition(operation);
  badge.dataset.condition = word;
  setText(badge, word);
}

/** How long ago the process was heard of: `2 s ago`; a dash once it has ended. */
export function heartbeat(operation) {
  return ended(operation) ? "–" : ago(operation.heartbeat_at);
}

/** `2 s ago` */
export function ago(iso) {
  const at = moment(iso);
  if (at === null) return "–";
  return now() - at < 1000 ? "now" : `${ticking(now() - at)} ago`;
}

/** How long it has run or ran. */
export function elapsed(operation) {
  return (moment(operation.ended_at) ?? now()) - moment(operation.started_at);
}

/** The remaining time in words; nothing made up: a dash where it is not known. */
export function remaining(operation) {
  const seconds = operation.estimated_remaining_seconds;
  if (ended(operation) || typeof seconds !== "number") return "–";
  return seconds < 1 ? "< 1 s" : ticking(seconds * 1000);
}
