// Two ways to an answer: the network in this tab, or the server of a model that does not give its weights away.

import { obstacle } from "../volunteer/capabilities.js";

/** Rows of one question. */
const ROWS_MAX = 4096;

/** The network in a worker of this tab. */
export class LocalNetwork {
  #worker = null;
  #waiting = new Map();
  #asked = 0;
  #scaling;

  /** Starts the worker of a model. Throws an Error with a sentence for the visitor. */
  static async start(description) {
    const why = obstacle(description.arithmetic);
    if (why !== null) throw new Error(why);
    const network = new LocalNetwork();
    const { spec, arithmetic, preparation, preprocessing, scaling } = description;
    const [[kind, names]] = Object.entries(preparation.targets);
    network.#scaling = scaling;
    network.#worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "shoal try" });
    network.#worker.onmessage = ({ data: { id, answer, error } }) => {
      const { resolve, reject } = network.#waiting.get(id);
      network.#waiting.delete(id);
      if (error === undefined) resolve(answer);
      else reject(new Error(error));
    };
    network.#worker.onerror = (event) => {
      event.preventDefault();
      network.#waiting.forEach(({ reject }) => reject(new Error(event.message ?? "the worker failed")));
      network.#waiting.clear();
    };
    const { offset, scale } = preprocessing;
    await network.#ask({ describe: { spec, classes: kind === "classes", targets: names.length, arithmetic, offset, scale } });
    return network;
  }

  #ask(message, transfer = []) {
    this.#asked += 1;
    const id = this.#asked;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, ...message }, transfer);
    });
  }

  /** Takes the weights of another iteration (an ArrayBuffer, which the caller keeps). */
  async setWeights(buffer) {
    await this.#ask({ weights: buffer });
  }

  /** The answers to stored values, row-major: probabilities, or numbers in their own unit. */
  async answers(inputs) {
    const outputs = Array.from(await this.#ask({ inputs }));
    if (this.#scaling === null) return outputs;
    const { mean, deviation } = this.#scaling;
    return outputs.map((value, at) => value * deviation[at % mean.length] + mean[at % mean.length]);
  }

  /** Ends the worker. */
  end() {
    this.#worker?.terminate();
  }
}

/** The server's answers to rows of cells (for images, of values), each a list: as `LocalNetwork.answers` gives them. */
export async function askServer(rows, targets) {
  const answers = [];
  for (let first = 0; first < rows.length; first += ROWS_MAX) {
    const response = await fetch("predict", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(rows.slice(first, first + ROWS_MAX)),
    });
    if (!response.ok) throw new Error(await response.text());
    for (const prediction of (await response.json()).predictions) {
      const values = prediction.probabilities ?? prediction;
      answers.push(...targets.map((name) => values[name]));
    }
  }
  return answers;
}
