// The page of one operation: asks for what there is, then follows the stream.

import * as api from "./api.js";
import { Banner } from "./banner.js";
import { Curves } from "./curves.js";
import { announce, element, paced } from "./dom.js";
import { Evidence } from "./evidence.js";
import { Failures } from "./failures.js";
import { moment, percent } from "./format.js";
import { Hero } from "./hero.js";
import { Matrix } from "./matrix.js";
import { Phases } from "./phases.js";
import { Slowest } from "./slowest.js";
import { condition, ended, news } from "./status.js";
import { Steps } from "./steps.js";
import { follow } from "./stream.js";
import { TimeSpent } from "./time_spent.js";
import { Waterfall } from "./waterfall.js";

const LOOK_AGAIN = 2000; // ms; what does not end is worth a question
const LOOK_AT_HOLDERS = 5000;
const LOST_LOOK_AGAIN = 10_000; // a lost worker may come back and correct its record

export class OperationView {
  steps = new Steps();
  operation = null;
  cursor = 0; // of what REST has told
  newest = 0; // sequence of the newest step that was heard
  heardAt = 0;
  stop = () => {};
  closed = false;
  drawn = -1;
  drawnOpen = false; // with steps under way, whose time goes on

  constructor(id) {
    this.id = id;
    this.node = element("article", { class: "operation", "aria-busy": "true" });
    this.draw = paced(() => this.show(), 100);
  }

  async open(shell) {
    this.shell = shell;
    shell.title(this.id, this.id);
    this.ticker = setInterval(() => this.tick(), 1000);
    try {
      await this.load();
    } catch (fault) {
      if (this.closed) return;
      shell.fail(fault);
      this.again = setTimeout(() => (this.closeParts(), this.open(shell)), LOOK_AGAIN);
      return;
    }
    if (this.closed || this.operation === null) return;
    this.follow();
  }

  close() {
    this.closed = true;
    this.closeParts();
    this.waterfall?.close();
    this.curves?.close();
  }

  closeParts() {
    this.stop();
    clearInterval(this.ticker);
    clearTimeout(this.again);
  }

  async load() {
    const operation = await api.operation(this.id);
    if (operation === null) return this.missing();
    if (this.closed) return;
    if (!this.hero) this.build();
    this.take(operation);
    // Many steps come in many pages: what is there already is shown.
    const [history] = await Promise.all([api.metrics(this.id), this.read()]);
    this.newest = this.cursor;
    this.steps.learn(history.metrics);
    this.show();
    this.node.removeAttribute("aria-busy");
  }

  /** The checkpoints that REST has beyond those read before; open ones too, of which the stream does not speak. */
  async read() {
    this.cursor = await api.checkpoints(this.id, this.cursor, (page) => {
      this.steps.add(page);
      this.draw();
    });
  }

  missing() {
    this.node.removeAttribute("aria-busy");
    this.node.replaceChildren(
      element(
        "p",
        { class: "notice" },
        `There is no operation ${this.id}. `,
        element("a", { href: "#/" }, "All operations"),
      ),
    );
    this.shell.link("ended", "not found");
  }

  build() {
    const redraw = () => ((this.drawn = -1), this.show());
    this.hero = new Hero(this.id);
    this.banner = new Banner();
    this.phases = new Phases();
    this.matrix = new Matrix();
    this.curves = new Curves();
    this.waterfall = new Waterfall();
    this.slowest = new Slowest(redraw);
    this.time = new TimeSpent();
    this.failures = new Failures();
    this.evidence = new Evidence(this.id, (warnings) => (this.steps.warn(warnings), redraw()));
    const parts = [this.phases, this.matrix, this.curves].map((each) => each.node);
    const after = [this.slowest, this.time].map((each) => each.node);
    this.node.replaceChildren(
      this.hero.node,
      this.banner.node,
      element("div", { class: "grid above" }, ...parts),
      this.failures.node,
      this.evidence.node,
      this.waterfall.node,
      element("div", { class: "grid below" }, ...after),
    );
  }

  follow() {
    if (ended(this.operation)) return this.finish();
    this.stop = follow(api.events(this.id), {
      after: this.newest,
      event: (name, data, id) => this.hear(name, data, id),
      link: (state, text) => this.shell.link(state, text),
      again: () => this.catchUp(),
    });
  }

  /** After a break: the state may have ended meanwhile; the steps come with the resumed stream. */
  async catchUp() {
    const operation = await api.operation(this.id);
    if (operation) this.take(operation);
  }

  hear(name, data, id) {
    if (name === "step") {
      this.steps.add([data]);
      this.newest = data.sequence ?? id;
      this.heardAt = performance.now();
      this.draw();
    } else if (name === "state") this.take(data);
    else if (name === "end") {
      this.take(data);
      this.finish();
    }
  }

  take(operation) {
    const before = this.operation;
    this.operation = operation;
    const told = before && news(before, operation);
    if (told) announce(told);
    this.draw();
  }

  async finish() {
    this.stop();
    this.shell.link("ended", condition(this.operation));
    try {
      await this.read();
    } catch (fault) {
      this.shell.fail(fault);
    }
    this.draw();
  }

  tick() {
    const operation = this.operation;
    if (!operation || !this.hero) return;
    if (!ended(operation)) {
      this.draw();
      this.look();
    } else if (operation.status === "lost") this.lookForTheLost();
  }

  /** The stream tells of finished units alone: what is open, and what held others and ended, is asked for. */
  look() {
    const at = performance.now();
    const quiet = at - this.heardAt > 1000;
    if (at - (this.lookedAt ?? 0) < (quiet ? LOOK_AGAIN : LOOK_AT_HOLDERS)) return;
    this.lookedAt = at;
    this.read().then(this.draw, () => {}); // the stream says whether the server is there
  }

  lookForTheLost() {
    const at = performance.now();
    if (at - (this.lookedAt ?? at - LOST_LOOK_AGAIN) < LOST_LOOK_AGAIN) return;
    this.lookedAt = at;
    this.catchUp().then(
      () => !ended(this.operation) && this.follow(),
      () => {},
    );
  }

  show() {
    const { operation, steps } = this;
    if (this.closed || !this.hero) return;
    const live = !ended(operation);
    this.shell.title(
      `${live ? `${percent(operation.percentage)} ` : `${condition(operation)}: `}${operation.name}`,
      this.id,
    );
    this.hero.show(operation);
    this.banner.show(operation);
    this.phases.show(operation);
    this.matrix.show(steps, operation);
    this.evidence.show(operation);
    const start = Math.min(moment(operation.started_at), steps.rows[0]?.start ?? Infinity);
    const end = moment(operation.ended_at) ?? Math.max(api.now(), steps.rows.at(-1)?.start ?? 0);
    this.waterfall.show(steps, start, end, live);
    this.failures.show(steps, operation);
    const changed = this.drawn !== steps.version;
    const at = live && steps.isOpen ? api.now() : null;
    if (changed) this.curves.show(steps);
    if (changed || at !== null || this.drawnOpen) {
      this.slowest.show(steps, at);
      this.time.show(steps, at);
    }
    this.drawn = steps.version;
    this.drawnOpen = at !== null;
  }
}
