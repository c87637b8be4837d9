// What both canvases need: sharp pixels, and the style sheet's colours.

/** The context of the canvas at the size of its box, in CSS pixels; null while it has none. */
export function sharp(canvas, width, height) {
  if (width < 1 || height < 1) return null;
  const ratio = window.devicePixelRatio || 1;
  const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== across || canvas.height !== down) {
    [canvas.width, canvas.height] = [across, down];
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

/** Calls `changed` when the colours do. */
export class Colours {
  #kept = new Map();

  constructor(changed) {
    this.media = matchMedia("(prefers-color-scheme: dark)");
    this.listener = () => (this.#kept.clear(), changed());
    this.media.addEventListener("change", this.listener);
  }

  /** The colour that the style sheet calls `--name`. */
  of(name) {
    let colour = this.#kept.get(name);
    if (!colour) {
      colour = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
      this.#kept.set(name, colour);
    }
    return colour;
  }

  close() {
    this.media.removeEventListener("change", this.listener);
  }
}
