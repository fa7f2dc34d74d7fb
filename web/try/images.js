// The part of the page for pictures: a pad, examples that were kept aside, a file, and what the network sees.

import { h, say } from "./dom.js";
import { Pad } from "./pad.js";
import { canvas, paint, valuesOf } from "./picture.js";

export class Images {
  #pad;
  #format;
  #examples;
  #targets;
  #next = 0;
  #seen = canvas(1, 1);
  #caption = h("figcaption", { class: "note" });
  #problem = h("p", { class: "alert", role: "alert", hidden: true });
  #onValues;

  /** Calls `onValues(values)` with the stored values of a picture, or null if there is none. */
  constructor(format, examples, targets, onValues) {
    [this.#format, this.#examples, this.#targets, this.#onValues] = [format, examples, targets, onValues];
    this.#pad = new Pad(() => this.#drawn());
    this.#seen.id = "seen";
    this.#seen.className = "seen";
    this.#seen.setAttribute("role", "img");
    this.#seen.setAttribute("aria-label", "What the network sees");
    const file = h("input", { id: "picture", type: "file", accept: "image/*", change: () => this.#choose(file) });
    const example = h("button", { id: "example", type: "button", click: () => this.#example(), hidden: examples.length === 0 }, "Show a test example");
    this.element = h("div", { class: "images" }, this.#pad.element,
      h("div", { class: "actions" },
        h("button", { id: "undo", type: "button", click: () => this.#pad.undo() }, "Undo"),
        h("button", { id: "clear", type: "button", click: () => this.#pad.clear() }, "Clear"), example),
      h("label", { for: "picture" }, "Or choose a picture"), file, this.#problem);
    /** What the network sees. */
    this.figure = h("figure", {}, this.#seen, this.#caption);
    this.#show(null, this.#preparing());
  }

  #preparing() {
    const { width, height, isDigit } = this.#format;
    return isDigit
      ? "What the network sees: cut to its box, fitted into 20 × 20 and centered by mass in 28 × 28, as MNIST's digits were."
      : `What the network sees: ${width} × ${height} pixels.`;
  }

  #drawn() {
    const place = this.#pad.element;
    const values = this.#pad.isEmpty ? null : valuesOf(place, { width: place.width, height: place.height, isInk: true }, this.#format);
    this.#show(values, this.#preparing());
  }

  #example() {
    const { values, class: truth } = this.#examples[this.#next % this.#examples.length];
    const name = truth === null ? "" : `: ${this.#targets[truth]}`;
    this.#next += 1;
    this.#pad.clear();
    this.#show(Float32Array.from(values), `A test example, which the network was not trained on${name}.`);
  }

  async #choose(file) {
    const [chosen] = file.files;
    if (chosen === undefined) return;
    try {
      const picture = await createImageBitmap(chosen);
      const { width, height } = picture;
      const scale = Math.min(1, 1024 / Math.max(width, height));
      const size = { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)), isInk: false };
      this.#pad.clear();
      this.#show(valuesOf(picture, size, this.#format), this.#preparing());
    } catch {
      this.#show(null, this.#preparing());
      this.#problem.hidden = false;
      say(this.#problem, `This browser cannot read ${chosen.name} as a picture; choose a PNG or JPEG file.`);
    }
  }

  #show(values, caption) {
    this.#problem.hidden = true;
    say(this.#caption, caption);
    const { channels, width, height } = this.#format;
    paint(this.#seen, values ?? new Float32Array(channels * width * height), this.#format);
    this.#onValues(values);
  }
}
