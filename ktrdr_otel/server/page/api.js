// The server's REST face.

const ROOT = "/api/v1";
let ahead = 0; // milliseconds by which the server's clock is ahead of this one

/** Nobody has logged in, or the token has changed. */
export class LoginNeeded extends Error {}

/** The server's time: ages are told by its clock, not by the one of this machine. */
export const now = () => Date.now() + ahead;

/** A page of operations, newest first. */
export const operations = (filters, cursor) => get("/operations", { ...filters, cursor, limit: 50 });

/** One operation, or null if there is none of that id. */
export const operation = (id) => get(path(id), {}, { missing: null });

/** The values of each epoch. */
export const metrics = (id) => get(`${path(id)}/metrics`, {}, { missing: { metrics: [] } });

/** The last records that its program has logged. */
export const logs = async (id) => (await get(`${path(id)}/logs`, {}, { missing: { logs: [] } })).logs;

/** CPU and memory of its process. */
export const samples = async (id) =>
  (await get(`${path(id)}/samples`, {}, { missing: { samples: [] } })).samples;

/** What all threads of its process do now; the fault says why there is none. */
export const stack = (id) => get(`${path(id)}/stack`);

/** Where the server tells what happens to one operation, or to all. */
export const events = (id) => (id ? `${ROOT}${path(id)}/events` : `${ROOT}/events`);

/** Every checkpoint after the cursor, page by page, to `take`; returns the cursor for the next time. */
export async function checkpoints(id, after, take) {
  let cursor = after;
  for (;;) {
    const page = await get(
      `${path(id)}/checkpoints`,
      { after: cursor, limit: 1000 },
      { missing: { checkpoints: [] } },
    );
    take(page.checkpoints);
    cursor = page.next ?? page.checkpoints.at(-1)?.sequence ?? cursor;
    if (!page.next) return cursor;
  }
}

/** The operation has been asked to stop; it does at its next checkpoint. */
export async function cancel(id, reason) {
  const answer = await fetch(`${ROOT}${path(id)}/cancel`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ reason }),
  });
  await checked(answer);
}

const path = (id) => `/operations/${encodeURIComponent(id)}`;

async function get(where, parameters = {}, { missing } = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined && value !== null && value !== "") query.set(name, value);
  }
  const answer = await fetch(`${ROOT}${where}${query.size ? `?${query}` : ""}`, {
    headers: { Accept: "application/json" },
  });
  const date = Date.parse(answer.headers.get("Date") ?? "");
  // The header has whole seconds: less than two are not worth believing.
  if (Number.isFinite(date)) ahead = Math.abs(date - Date.now()) > 2000 ? date - Date.now() : 0;
  if (answer.status === 404 && missing !== undefined) return missing;
  await checked(answer);
  return answer.json();
}

async function checked(answer) {
  if (answer.ok) return;
  if (answer.status === 401) throw new LoginNeeded();
  const body = await answer.json().catch(() => ({}));
  const detail = typeof body.detail === "string" ? body.detail : answer.statusText;
  throw new Error(`the server answered ${answer.status}${detail ? `: ${detail}` : ""}`);
}
