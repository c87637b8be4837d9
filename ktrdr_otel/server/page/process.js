// What an operation's process uses, and what all its threads do when somebody asks.

import * as api from "./api.js";
import { element, setAttribute, setText } from "./dom.js";
import { activity, clock, memory, moment } from "./format.js";
import { Sparkline } from "./sparkline.js";
import { ended } from "./status.js";

export class Process {
  constructor(id) {
    this.id = id;
    this.when = element("span", { class: "quiet" });
    this.cpu = new Sparkline("CPU");
    this.memory = new Sparkline("Memory");
    this.button = element(
      "button",
      { type: "button", hidden: true, on: { click: () => this.ask() } },
      "Take the stacks now",
    );
    this.answer = element("p", { class: "quiet", role: "status" });
    this.stack = element("pre", { tabindex: "0", role: "group", "aria-label": "Stacks now", hidden: true });
    this.node = element(
      "section",
      { class: "panel process", "aria-labelledby": "process-title", hidden: true },
      element("header", {}, element("h2", { id: "process-title" }, "Process"), this.when, this.button),
      element("div", { class: "charts" }, this.cpu.node, this.memory.node),
      this.answer,
      this.stack,
    );
  }

  /** The lines show the samples; of a run that has ended they say when it was seen last. */
  show(samples, operation) {
    const over = ended(operation);
    this.button.hidden = over;
    this.node.hidden = over && samples.length === 0;
    const newest = samples.at(-1);
    setText(this.when, newest && over ? `seen last at ${clock(moment(newest.at))}` : "");
    this.cpu.show(samples, {
      value: (each) => each.cpu_share,
      words: newest ? activity(newest.cpu_share) : "",
    });
    this.memory.show(samples, {
      value: (each) => each.rss_bytes,
      limit: newest?.limit_bytes,
      words: newest ? memoryWords(samples) : "",
    });
  }

  async ask() {
    setAttribute(this.button, "disabled", true);
    setText(this.answer, "Looking at the process …");
    try {
      const { stack } = await api.stack(this.id);
      setText(this.answer, `At ${clock(api.now())}:`);
      setText(this.stack, stack);
      this.stack.hidden = false;
    } catch (fault) {
      setText(this.answer, `No stack: ${fault.message}`);
      this.stack.hidden = true;
    } finally {
      setAttribute(this.button, "disabled", false);
    }
  }
}

function memoryWords(samples) {
  const { rss_bytes: used, limit_bytes: limit } = samples.at(-1);
  const most = Math.max(...samples.map((each) => each.rss_bytes));
  return `${memory(used)}${limit === null ? "" : ` of ${memory(limit)}`}, at most ${memory(most)}`;
}
