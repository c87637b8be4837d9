// Building and changing the document. Data only ever becomes text nodes and attributes, never markup.

/** A new element; a string child is text. `on` holds listeners, other keys are attributes. */
export function element(tag, { on = {}, ...attributes } = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) setAttribute(node, name, value);
  for (const [name, listener] of Object.entries(on)) node.addEventListener(name, listener);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) setAttribute(node, name, value);
  node.append(...children);
  return node;
}

/** The attribute has the value; null and false remove it, and nothing is written that is there already. */
export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}

/** The node says the text; an unchanged one is left alone, so that nothing flickers and selections stay. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** The custom property drives a width or a position in the style sheet. */
export function setProperty(node, name, value) {
  const text = String(value);
  if (node.style.getPropertyValue(name) !== text) node.style.setProperty(name, text);
}

/** The children of `parent` are one node per item, in order; nodes are kept by key, moved and filled, not remade. */
export function reconcile(parent, items, key, create, fill) {
  const known = (parent.keyed ??= new Map());
  const wanted = new Set();
  let place = parent.firstElementChild;
  for (const item of items) {
    const id = key(item);
    wanted.add(id);
    let node = known.get(id);
    if (!node) known.set(id, (node = create(item)));
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
    fill(node, item);
  }
  for (const [id, node] of known) {
    if (wanted.has(id)) continue;
    node.remove();
    known.delete(id);
  }
}

/** The address if a browser may be sent there, else null: a template could hold `javascript:`. */
export function safeLink(address) {
  if (!address) return null;
  try {
    const url = new URL(address, location.href);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}

/** Says it to those who listen to the page instead of looking at it. */
export function announce(text) {
  setText(document.getElementById("announcer"), text);
}

/** A function that runs `work` once per `milliseconds` at most, and always after the last call. */
export function paced(work, milliseconds) {
  let timer = null;
  let last = 0;
  const run = () => {
    timer = null;
    last = performance.now();
    work();
  };
  return () => {
    timer ??= setTimeout(run, Math.max(0, milliseconds - (performance.now() - last)));
  };
}
