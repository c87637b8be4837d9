// Server-sent events, followed until told to stop, across restarts of the server.
//
// Not EventSource: after an answer that is no stream (a proxy's 502 while the server restarts) it gives up for
// good, and a new one could not say where the old one was. `fetch` sends `Last-Event-ID` every time.

import { LoginNeeded } from "./api.js";

const SHORTEST = 500;
const LONGEST = 8000;
// A browser opens six connections to a server at most, and each stream holds one: a page that nobody has
// looked at for a while gives its own back and asks now and then.
const AWAY = 60_000;
const ASK_AGAIN = 30_000;
const UNSEEN = "paused while unseen";
// The server sends the state at least every fifteen seconds; a line that is silent for longer is dead.
const SILENCE = 45_000;

/**
 * Follows `url` and returns a function that ends it.
 * `event(name, data, id)` hears each event; `link(state, text)` hears "live", "waiting" and "login";
 * `again()` is awaited before each reconnection, to ask for what a stream does not repeat.
 */
export function follow(url, { after = null, event, link, again = async () => {} }) {
  const stop = new AbortController();
  const place = { last: after };
  run(url, place, { event, link, again }, stop.signal);
  return () => stop.abort();
}

async function run(url, place, hears, stopped) {
  let wait = SHORTEST;
  let first = true;
  while (!stopped.aborted) {
    let reason = "reconnecting";
    try {
      if (!first) await hears.again();
      first = false;
      reason = away() ? UNSEEN : await once(url, place, hears, stopped, () => (wait = SHORTEST));
      if (reason === "login") return hears.link("login", "log in");
    } catch (fault) {
      if (stopped.aborted) return;
      if (fault instanceof LoginNeeded) return hears.link("login", "log in");
    }
    if (stopped.aborted) return;
    hears.link("waiting", reason);
    if (reason === UNSEEN) {
      await Promise.race([pause(ASK_AGAIN, stopped), comeback()]);
      continue;
    }
    await pause(wait * (0.75 + Math.random() / 2), stopped);
    wait = Math.min(wait * 2, LONGEST);
  }
}

async function once(url, place, hears, stopped, opened) {
  const quiet = new AbortController();
  const headers = { Accept: "text/event-stream" };
  if (place.last !== null) headers["Last-Event-ID"] = String(place.last);
  const signal = AbortSignal.any([stopped, quiet.signal]);
  let watchdog = setTimeout(() => quiet.abort(), SILENCE);
  try {
    const answer = await fetch(url, { headers, signal, cache: "no-store" });
    if (answer.status === 401) return "login";
    if (!answer.ok || !answer.body) return "reconnecting";
    opened();
    hears.link("live", "live");
    let farewell = "reconnecting";
    for await (const message of messages(answer.body)) {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => quiet.abort(), SILENCE);
      if (message.data === null) continue; // a comment: the line is alive
      const data = parsed(message.data);
      if (message.name === "bye") farewell = data?.reason ? `server: ${data.reason}` : farewell;
      else if (data !== null) hears.event(message.name, data, message.id);
      // After the event was heard: one that was cut off in between is sent again.
      if (message.id !== null) place.last = message.id;
      if (away()) return UNSEEN; // something is said every few seconds, so this is asked often enough
    }
    return farewell;
  } finally {
    clearTimeout(watchdog);
    quiet.abort();
  }
}

/** The messages of a body; `data` is null for a comment. */
async function* messages(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) yield message(block);
  }
}

function message(block) {
  const found = { name: "message", data: null, id: null };
  for (const line of block.split("\n")) {
    const [, field, text] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
    if (field === "event") found.name = text;
    else if (field === "id") found.id = text;
    else if (field === "data") found.data = found.data === null ? text : `${found.data}\n${text}`;
  }
  return found;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    console.warn("ktrdr-otel: an event that is no JSON was left out");
    return null;
  }
}

function pause(milliseconds, stopped) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    stopped.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

let hiddenAt = document.hidden ? performance.now() : null;
document.addEventListener("visibilitychange", () => (hiddenAt = document.hidden ? performance.now() : null));

const away = () => hiddenAt !== null && performance.now() - hiddenAt > AWAY;

/** Settles when the page comes into view. */
function comeback() {
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
  });
}
