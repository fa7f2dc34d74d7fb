// Puts the page together: what the model is, where its weights come from, what the visitor gives it, what it answers.

import * as words from "../words.js";
import { Answer } from "./answer.js";
import { h, say } from "./dom.js";
import { Feed } from "./feed.js";
import { Form } from "./form.js";
import { Images } from "./images.js";
import { askServer, LocalNetwork } from "./network.js";
import { formatOf } from "./picture.js";
import { inputsOf, readers } from "./preparation.js";
import { Sheet } from "./sheet.js";

const PATIENCE_MS = 15_000;

async function fetchJson(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

/** Shows the page in `root` as soon as what it needs has come. */
export async function mount(root) {
  const state = h("p", { class: "state", id: "state", role: "status", "data-state": "loading" }, "Fetching the model…");
  root.replaceChildren(state);
  try {
    new Trial(await load()).show(root);
  } catch (error) {
    state.dataset.state = "blocked";
    say(state, blocked(error));
  }
}

const blocked = ({ message, name }) => (name === "TypeError" || name === "TimeoutError"
  ? `The coordinator at ${location.host} does not answer; reload the page when it runs.`
  : message);

/** Fetches everything that is needed to answer without the coordinator: {description, examples, network, feed}. */
export async function load() {
  const description = await fetchJson("api/model");
  if (!description.has_weights) return { description, examples: [], network: null, feed: null };
  const isNumbers = "numbers" in description.preparation.targets;
  const examples = isNumbers || description.preparation.pixels !== null ? await fetchJson("api/examples").catch(() => []) : [];
  const network = await LocalNetwork.start(description);
  const feed = new Feed();
  await feed.ask();
  return { description, examples, network, feed };
}

/** The page, with what `load` gave. */
export class Trial {
  #description;
  #examples;
  #network;
  #feed;
  #columns;
  #answer;
  #state = h("p", { class: "state", id: "state", role: "status" });
  #slider = h("input", { id: "weights", type: "range", min: "0", max: "0", value: "0", step: "1" });
  #slid = h("output", { for: "weights", id: "weights-text" });
  #latest = h("button", { id: "latest", type: "button", class: "small" }, "Latest");
  #time = null;
  #level = 1;
  /** The iteration whose weights answer, and the one that the visitor wants (null: always the last). */
  #used = null;
  #wanted = null;
  #using = null;
  /** What is to be answered: {inputs, row, isUnlike} or null; `isUnlike` says that it is unlike the training's examples. */
  #question = null;
  #errors = null;

  constructor({ description, examples, network, feed }) {
    [this.#description, this.#examples, this.#network, this.#feed] = [description, examples, network, feed];
    this.#columns = readers(description);
    this.#answer = new Answer(description);
    if (feed !== null) feed.onChange = () => this.#follow();
  }

  /** Puts the page into `root`, its headings from `level` on. */
  show(root, level = 1) {
    this.#level = level;
    const { title, preparation, network } = this.#description;
    const heading = title.startsWith("a network") ? title.replace("a network", "Try the network") : `Try ${title}`;
    const format = formatOf(this.#description, this.#examples);
    const where = this.#network === null
      ? `Your values go to ${location.host}, whose network (${network}) answers.`
      : "The network answers in this tab. What you draw, type or choose stays here: nothing is sent.";
    const parts = [h("p", { class: "lead", id: "lead" }, where)];
    if (this.#feed !== null) parts.push(this.#state, this.#timeline());
    const answer = h("section", { class: "card", id: "answer" }, this.#heading("The answer"), this.#answer.element);
    if (format !== null) {
      const images = new Images(format, this.#examples, this.#answer.targets, (values) => this.#ask(values && { inputs: values, row: [...values] }));
      answer.append(images.figure);
      parts.push(h("div", { class: "both" }, h("section", { class: "card" }, this.#heading("Draw"), images.element), answer));
    } else if (preparation.pixels !== null) {
      parts.push(this.#examplesOnly(), answer);
    } else {
      const form = new Form(this.#columns, (cells, problem) => this.#row(cells, problem));
      const sheet = new Sheet(this.#description, this.#columns, (cells, commas) => this.#outputs(inputsOf(this.#columns, cells, commas), cells));
      parts.push(
        h("div", { class: "both" }, h("section", { class: "card" }, this.#heading("One row"), form.element), answer),
        h("section", { class: "card" }, this.#heading("Many rows"), sheet.element),
      );
      form.tell();
    }
    root.replaceChildren(h(`h${level}`, { id: "trial-heading", tabindex: "-1" }, heading), ...parts);
    if (this.#feed !== null) this.#follow();
  }

  #heading(text) {
    return h(`h${this.#level + 1}`, {}, text);
  }

  /** Inputs that are neither columns nor pictures: only the examples can be shown to the network. */
  #examplesOnly() {
    let next = 0;
    const told = h("p", { class: "note" });
    const button = h("button", { id: "example", type: "button", click: () => {
      const { values, class: truth } = this.#examples[next % this.#examples.length];
      next += 1;
      say(told, truth === null ? `Example ${next}.` : `Example ${next}, whose class is ${this.#answer.targets[truth]}.`);
      this.#ask({ inputs: Float32Array.from(values), row: values });
    } }, "Show a test example");
    button.disabled = this.#examples.length === 0;
    return h("section", { class: "card" }, this.#heading("Examples"), h("div", { class: "actions" }, button, told));
  }

  #timeline() {
    this.#slider.addEventListener("input", () => {
      const iterations = this.#feed.iterations;
      const at = Number(this.#slider.value);
      this.#wanted = at === iterations.length - 1 ? null : iterations[at];
      this.#follow();
    });
    this.#latest.addEventListener("click", () => {
      this.#wanted = null;
      this.#follow();
      this.#slider.focus();
    });
    this.#time = h("div", { class: "timeline", hidden: true },
      h("label", { for: "weights" }, "Weights of iteration"), this.#slid, this.#slider, this.#latest);
    return this.#time;
  }

  /** Shows which weights there are, and has those that are wanted answer. */
  #follow() {
    const { iterations, last } = this.#feed;
    const wanted = this.#wanted ?? last;
    this.#time.hidden = iterations.length < 2;
    this.#slider.max = String(Math.max(iterations.length - 1, 0));
    this.#slider.value = String(Math.max(iterations.indexOf(wanted), 0));
    const text = wanted === null ? "" : words.count(wanted);
    say(this.#slid, text);
    this.#slider.setAttribute("aria-valuetext", `iteration ${text}`);
    this.#latest.hidden = this.#wanted === null;
    this.#tell();
    if (wanted === null || wanted === this.#used || this.#using !== null) return;
    this.#using = this.#use(wanted).finally(() => {
      this.#using = null;
      if ((this.#wanted ?? this.#feed.last) !== this.#used) this.#follow();
    });
  }

  async #use(iteration) {
    const weights = await this.#feed.weights(iteration);
    if (weights === null) {
      // It is no longer kept there, or the coordinator is away.
      if (this.#wanted === iteration) this.#wanted = null;
      if (this.#used === null) return;
      this.#wanted ??= this.#used;
      return;
    }
    await this.#network.setWeights(weights);
    this.#used = iteration;
    this.#errors = await this.#typicalErrors();
    this.#tell();
    await this.#reply();
  }

  #tell() {
    const { state, hasChanged, last } = this.#feed;
    const used = this.#used === null ? "" : words.count(this.#used);
    const sentences = {
      empty: "There are no weights yet: the training has not finished its first round.",
      fresh: this.#wanted === null ? `The training goes on; the weights are those of iteration ${used}.` : `The weights are those of iteration ${used}, from earlier in the training.`,
      stale: last === null
        ? "The coordinator does not answer, and no weights have come yet."
        : `The coordinator does not answer; the weights are the last ones that came, of iteration ${used}.`,
      over: this.#wanted === null ? `The training is over; this is its model, of iteration ${used}. It answers without a connection.` : `The training is over; the weights are those of iteration ${used}.`,
    };
    const shown = this.#used === null && state === "fresh" ? "loading" : state;
    this.#state.dataset.state = hasChanged ? "stale" : shown;
    if (hasChanged) say(this.#state, "Another training has begun here; reload the page to try its network.");
    else say(this.#state, shown === "loading" ? "Fetching the weights…" : sentences[shown]);
  }

  #row(cells, problem) {
    if (cells === null) {
      this.#question = null;
      this.#answer.clear(problem);
      return;
    }
    // The typical error is that of examples like those of the training.
    const isUnlike = cells.some((cell, at) => this.#columns[at].isOutside(cell));
    this.#ask({ inputs: inputsOf(this.#columns, [cells]), row: cells, isUnlike });
  }

  #ask(question) {
    this.#question = question;
    if (question === null) this.#answer.clear("Nothing to answer yet.");
    return this.#reply();
  }

  /** Answers the question as it is; one that comes meanwhile is answered afterwards. */
  #replying = false;
  async #reply() {
    if (this.#replying) return;
    this.#replying = true;
    try {
      let answered = null;
      while (this.#question !== null && answered !== this.#question && (this.#network === null || this.#used !== null)) {
        answered = this.#question;
        const used = this.#used;
        const outputs = await this.#outputs(answered.inputs, [answered.row]);
        if (this.#question === answered) this.#answer.show(outputs, answered.isUnlike ? null : this.#errors);
        // Other weights have come meanwhile.
        if (used !== this.#used) answered = null;
      }
    } catch (error) {
      this.#answer.clear(error.name === "TypeError" ? `The server at ${location.host} does not answer.` : error.message);
    }
    this.#replying = false;
  }

  #outputs(inputs, rows) {
    if (this.#network === null) return askServer(rows, this.#answer.targets);
    if (this.#used === null) throw new Error("There are no weights yet: the training has not finished its first round.");
    return this.#network.answers(inputs);
  }

  /** For each number its root mean squared error on examples kept aside; null without such examples. */
  async #typicalErrors() {
    const truths = this.#examples.map(({ numbers }) => numbers).filter((numbers) => numbers.length > 0);
    if (truths.length < 2) return null;
    const outputs = await this.#network.answers(Float32Array.from(this.#examples.flatMap(({ values }) => values)));
    const width = truths[0].length;
    return truths[0].map((_, at) => {
      const squares = truths.map((truth, row) => (outputs[row * width + at] - truth[at]) ** 2);
      return Math.sqrt(squares.reduce((sum, value) => sum + value, 0) / squares.length);
    });
  }
}
