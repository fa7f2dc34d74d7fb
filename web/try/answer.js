// The network's answer: a sentence, and for classes a bar each.

import * as words from "../words.js";
import { h, say } from "./dom.js";

/** Below this probability the network is not sure. */
const SURE = 0.6;
/** Classes that have a bar; of more, the likeliest. */
const BARS_MAX = 20;

export class Answer {
  #targets;
  #isClasses;
  #heading = h("p", { class: "verdict", id: "verdict", role: "status" });
  #bars = h("ul", { class: "bars", id: "bars" });
  #note = h("p", { class: "note", id: "bars-note", hidden: true });
  element = h("div", { class: "answer" });

  constructor({ preparation }) {
    const [[kind, names]] = Object.entries(preparation.targets);
    this.#targets = names;
    this.#isClasses = kind === "classes";
    this.element.append(this.#heading, this.#bars, this.#note);
    this.clear("Nothing to answer yet.");
  }

  get targets() {
    return this.#targets;
  }

  clear(sentence) {
    say(this.#heading, sentence);
    this.#bars.replaceChildren();
    this.#note.hidden = true;
  }

  /** Shows outputs: probabilities of the classes, or numbers with their typical errors (or null). */
  show(outputs, errors) {
    if (!outputs.every(Number.isFinite)) return this.clear("The network's answer is no number: its training has gone astray.");
    if (!this.#isClasses) {
      const sentences = this.#targets.map((name, at) => {
        const error = errors?.[at];
        const digits = error ? Math.max(1, Math.ceil(Math.log10(Math.abs(outputs[at]) / error)) + 2) : 6;
        const value = Number(outputs[at].toPrecision(Math.min(Math.max(digits, 2), 12)));
        return `${name || "The number"}: ${value.toLocaleString("en")}${error ? `, with a typical error of ${Number(error.toPrecision(2)).toLocaleString("en")}` : ""}`;
      });
      this.#bars.replaceChildren();
      this.element.dataset.outputs = JSON.stringify(outputs);
      say(this.#heading, sentences.join("; "));
      return;
    }
    const order = outputs.map((_, at) => at).sort((one, other) => outputs[other] - outputs[one]);
    const [best] = order;
    say(this.#heading, outputs[best] < SURE
      ? `Not sure: perhaps ${this.#targets[best]} (${words.certainty(outputs[best])}).`
      : `Looks like ${article(this.#targets[best])} (${words.certainty(outputs[best])}).`);
    const shown = order.length > BARS_MAX ? order.slice(0, BARS_MAX) : outputs.map((_, at) => at);
    this.#bars.replaceChildren(...shown.map((at) => bar(this.#targets[at], outputs[at], at === best)));
    this.#note.hidden = order.length <= BARS_MAX;
    say(this.#note, `and ${words.plural(order.length - BARS_MAX, "class", "classes")} that are less likely`);
    this.element.dataset.outputs = JSON.stringify(outputs);
    this.element.dataset.best = this.#targets[best];
  }
}

/** 3 -> "a 3"; words stand by themselves. */
const article = (name) => (/^[0-9A-Za-z]$/.test(name) ? `${/^[8aefhilmnorsxAEFHILMNORSX]$/.test(name) ? "an" : "a"} ${name}` : name);

function bar(name, share, isBest) {
  const fill = h("span", { class: "fill" });
  fill.style.width = `${100 * share}%`;
  return h("li", { class: isBest ? "best" : "" },
    h("span", { class: "bar-name" }, name), h("span", { class: "track", "aria-hidden": "true" }, fill),
    h("span", { class: "bar-share" }, words.certainty(share)));
}
