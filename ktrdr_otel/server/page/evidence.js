// What is known of a run besides its steps: its log, and what its process uses. Asked for now and then.

import * as api from "./api.js";
import { element } from "./dom.js";
import { Logs, isWarning } from "./logs.js";
import { Process } from "./process.js";
import { condition, ended } from "./status.js";

const LOOK_AGAIN = 5000; // ms; the process is sampled as often
const LOOK_AT_LOG = 2000; // while somebody reads it

export class Evidence {
  logs = [];
  samples = [];
  lookedAt = -Infinity;
  told = null; // the condition that was looked at last
  failed = false; // whether the last look had no answer

  constructor(id, warned) {
    this.id = id;
    this.warned = warned;
    this.log = new Logs(() => this.operation && this.draw());
    this.process = new Process(id);
    this.node = element("div", { class: "grid evidence" }, this.process.node, this.log.node);
  }

  /** Shown as known; asked for again when it may be old, or when the operation stands otherwise than before. */
  show(operation) {
    this.operation = operation;
    this.draw();
    const changed = this.told !== condition(operation);
    const pause = this.log.details.open ? LOOK_AT_LOG : LOOK_AGAIN;
    const due = (this.failed || !ended(operation)) && performance.now() - this.lookedAt > pause;
    if (!document.hidden && (changed || due)) this.look();
  }

  async look() {
    this.told = condition(this.operation);
    this.lookedAt = performance.now();
    try {
      [this.logs, this.samples] = await Promise.all([api.logs(this.id), api.samples(this.id)]);
      this.failed = false;
    } catch {
      this.failed = true; // that the server is away is said by the stream
      return;
    }
    this.warned(this.logs.filter(isWarning));
    this.draw();
  }

  draw() {
    this.log.show(this.logs, this.operation);
    this.process.show(this.samples, this.operation);
  }
}
