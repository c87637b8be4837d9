// Which view is shown: the list, or one operation by the address's hash.

import { LoginNeeded } from "./api.js";
import { element, reconcile, setText } from "./dom.js";
import { ListView } from "./list.js";
import { OperationView } from "./operation.js";

const main = document.getElementById("main");
const link = document.getElementById("link");
let view = null;

const shell = {
  /** How the line to the server stands: "live", "waiting" or "ended"; "login" leads to the form. */
  link(state, text) {
    if (state === "login") return location.assign(`/login${location.hash}`);
    link.dataset.state = state;
    setText(document.getElementById("link-text"), text);
  },
  /** The title of the window and the last of the crumbs. */
  title(text, crumb = null) {
    document.title = `${text} · ktrdr-otel`;
    const crumbs = [{ text: "Operations", href: "#/" }, ...(crumb ? [{ text: crumb, href: null }] : [])];
    reconcile(document.getElementById("crumbs"), crumbs, (each) => each.href ?? "here", newCrumb, fillCrumb);
  },
  /** A fault that the view cannot go on with: a login, or a sentence. */
  fail(fault) {
    if (fault instanceof LoginNeeded) return this.link("login");
    this.link("waiting", "no answer");
    console.warn("ktrdr-otel:", fault.message);
  },
};

function newCrumb({ href }) {
  return element("li", {}, href ? element("a", { href }) : element("span", { "aria-current": "page" }));
}

function fillCrumb(node, { text }) {
  setText(node.firstChild, text);
}

function show(next) {
  view?.close();
  view = next;
  main.replaceChildren(view.node);
  view.open(shell);
}

function route() {
  const [, id] = /^#\/operations\/([^/]+)$/.exec(location.hash) ?? [];
  let known = null;
  try {
    known = id ? decodeURIComponent(id) : null;
  } catch {
    // A hash that is no encoding of anything names no operation.
  }
  shell.link("waiting", "connecting");
  show(known === null ? new ListView() : new OperationView(known));
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
window.addEventListener("hashchange", () => {
  route();
  main.focus({ preventScroll: true });
  window.scrollTo(0, 0);
});
route();
