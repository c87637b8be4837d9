// Numbers and times as people read them.

const NARROW = "\u00a0"; // between a number and its unit

/** Milliseconds since the epoch with their microseconds, which `Date.parse` would cut off; null stays null. */
export function moment(iso) {
  const parts = /^(.{19})(\.\d+)?(Z|[+-]\d\d:\d\d)$/.exec(iso ?? "");
  return parts ? Date.parse(parts[1] + parts[3]) + Number(parts[2] ?? 0) * 1000 : null;
}

/** A length of time with three digits at most: `850 µs`, `12.4 ms`, `1.25 s`, `2 min 05 s`, `1 h 04 min`. */
export function duration(milliseconds) {
  if (milliseconds === null || !Number.isFinite(milliseconds)) return "–";
  const amount = Math.max(0, milliseconds);
  if (amount < 0.9995) return `${Math.round(amount * 1000)}${NARROW}µs`;
  if (amount < 999.5) return `${digits(amount)}${NARROW}ms`;
  const seconds = amount / 1000;
  if (seconds < 59.95) return `${digits(seconds)}${NARROW}s`;
  return coarse(Math.round(seconds));
}

/** A length of time for a clock that ticks: whole seconds, so that it does not dance. */
export function ticking(milliseconds) {
  if (milliseconds === null || !Number.isFinite(milliseconds)) return "–";
  return coarse(Math.max(0, Math.floor(milliseconds / 1000)));
}

function coarse(seconds) {
  if (seconds < 60) return `${seconds}${NARROW}s`;
  const two = (amount) => String(amount).padStart(2, "0");
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}${NARROW}min ${two(seconds % 60)}${NARROW}s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours}${NARROW}h ${two(minutes % 60)}${NARROW}min`;
  return `${Math.floor(hours / 24)}${NARROW}d ${hours % 24}${NARROW}h`;
}

function digits(amount) {
  return amount < 9.995 ? amount.toFixed(2) : amount < 99.95 ? amount.toFixed(1) : amount.toFixed(0);
}

/** A measured value: four significant digits. */
export function value(amount) {
  return typeof amount === "number" && Number.isFinite(amount) ? String(Number(amount.toPrecision(4))) : "–";
}

/** An amount of memory: `812 MiB`, `1.5 GiB`. */
export function memory(bytes) {
  const mebibytes = bytes / 2 ** 20;
  return mebibytes < 1000
    ? `${mebibytes.toFixed(0)}${NARROW}MiB`
    : `${(mebibytes / 1024).toFixed(1)}${NARROW}GiB`;
}

/** What a process does that keeps so many cores busy, in the words of the command line. */
export function activity(share) {
  const percent = `${(share * 100).toFixed(0)}${NARROW}%`;
  if (share < 0.5) return `${share < 0.1 ? "waiting" : "partly busy"} (${percent} CPU)`;
  return `${share < 1.5 ? "one core" : `${share.toFixed(0)} cores`} busy (${percent})`;
}

/** `62.4 %`; 100 only for what is complete. */
export function percent(amount) {
  const shown = amount >= 100 ? 100 : Math.min(Math.floor((amount ?? 0) * 10) / 10, 99.9);
  return `${shown.toFixed(1)}${NARROW}%`;
}

/** `12,480` */
export const count = (amount) => (amount ?? 0).toLocaleString("en");

/** A moment for people: the time today, with its day otherwise. */
export function clock(milliseconds) {
  if (milliseconds === null) return "–";
  const at = new Date(milliseconds);
  const time = at.toLocaleTimeString("en-GB");
  return at.toDateString() === new Date().toDateString()
    ? time
    : `${at.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" })} ${time}`;
}

/** `computing_indicator` as words. */
export const words = (name) => (name ?? "").replaceAll("_", " ");

/** The word with a capital, for a heading or a label. */
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** A moment as a distance from the start, with as many digits as the distance between ticks needs. */
export function offset(milliseconds, resolution) {
  if (milliseconds === 0) return "0";
  const sign = milliseconds < 0 ? "−" : "";
  const amount = Math.abs(milliseconds);
  if (resolution >= 1000 && amount >= 60_000) return sign + coarse(Math.round(amount / 1000));
  if (amount >= 1000) return `${sign}${(amount / 1000).toFixed(places(resolution / 1000))}${NARROW}s`;
  if (resolution >= 0.01) return `${sign}${amount.toFixed(places(resolution))}${NARROW}ms`;
  return `${sign}${(amount * 1000).toFixed(0)}${NARROW}µs`;
}

const places = (resolution) => Math.max(0, Math.min(6, -Math.floor(Math.log10(resolution) + 1e-9)));
