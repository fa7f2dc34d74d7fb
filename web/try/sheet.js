// Many rows at once: pasted, dropped or chosen CSV, and a table of answers to download.

import * as words from "../words.js";
import * as csv from "./csv.js";
import { h, say } from "./dom.js";

/** Rows of a table that are shown. The file has all. */
const SHOWN_MAX = 20;
/** Bytes of a table. */
const BYTES_MAX = 20e6;
/** Rows of a table. */
const ROWS_MAX = 50_000;

export class Sheet {
  #preparation;
  #columns;
  #targets;
  #isClasses;
  #predict;
  #text = h("textarea", { id: "rows", rows: "5", spellcheck: "false" });
  #problem = h("p", { class: "alert", role: "alert", id: "rows-problem", hidden: true });
  #summary = h("p", { class: "note", id: "rows-summary", role: "status" });
  #table = h("table", { id: "results" });
  #download = h("a", { id: "download", class: "button", download: "predictions.csv", hidden: true }, "Download the answers");
  #link = null;

  /** `predict(cells, commas)` gives the outputs of rows of cells. */
  constructor({ preparation }, columns, predict) {
    [this.#preparation, this.#columns, this.#predict] = [preparation, columns, predict];
    const [[kind, names]] = Object.entries(preparation.targets);
    [this.#isClasses, this.#targets] = [kind === "classes", names];
    const names_ = columns.map(({ name }) => name);
    this.#text.placeholder = `${names_.join(",")}\n${columns.map(({ typical }) => typical).join(",")}`.slice(0, 400);
    const file = h("input", { id: "table-file", type: "file", accept: ".csv,.tsv,.txt,text/csv", change: () => this.#read(file.files[0]) });
    const drop = h("div", {
      class: "drop",
      dragover: (event) => event.preventDefault(),
      drop: (event) => {
        event.preventDefault();
        this.#read(event.dataTransfer.files[0]);
      },
    },
    h("label", { for: "rows" }, "Paste rows of CSV, or drop a file here"), this.#text,
    h("div", { class: "actions" },
      h("button", { id: "predict-rows", type: "button", click: () => this.#run() }, "Predict all rows"),
      h("label", { for: "table-file" }, "or choose a file"), file));
    this.element = h("div", { class: "sheet" }, drop, this.#problem, this.#summary,
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Answers" }, this.#table), this.#download);
    this.element.querySelector(".scroll").hidden = true;
  }

  async #read(file) {
    if (file === undefined) return;
    if (file.size > BYTES_MAX) return this.#complain(`${file.name} is larger than 20 MB; use shoal predict for it.`);
    this.#text.value = await file.text();
    await this.#run();
  }

  async #run() {
    try {
      const { rows, separator } = csv.parse(this.#text.value);
      const { header, rows: own, cells } = csv.arrange(rows, this.#preparation);
      if (cells.length > ROWS_MAX) throw new Error(`${cells.length} rows are too many for a page; use shoal predict for them.`);
      if (cells.length === 0) throw new Error("There is a line with names, but no row below it.");
      // Where semicolons separate, commas may stand in numbers.
      const commas = separator === ";" && cells.some((row) => row.some((cell) => /^-?\d+,\d+$/.test(cell)));
      const outputs = await this.#predict(cells, commas);
      this.#show(header, own, cells, outputs);
    } catch (error) {
      this.#complain(error.message);
    }
  }

  #show(header, own, cells, outputs) {
    const width = this.#targets.length;
    const heads = this.#isClasses ? ["prediction", ...this.#targets.map((name) => `probability ${name}`)] : this.#targets.map((name) => name || "prediction");
    const answers = cells.map((_, row) => {
      const values = outputs.slice(row * width, (row + 1) * width);
      if (!this.#isClasses) return values.map(String);
      const best = values.reduce((most, value, at) => (value > values[most] ? at : most), 0);
      return [this.#targets[best], ...values.map((value) => value.toFixed(6))];
    });
    const outside = cells.map((row) => this.#columns.map((column, at) => column.isOutside(row[at] ?? "")));
    const count = outside.filter((row) => row.some(Boolean)).length;
    this.#problem.hidden = true;
    say(this.#summary, `${words.plural(cells.length, "row", "rows")}${cells.length > SHOWN_MAX ? `, the first ${SHOWN_MAX} shown` : ""}. ${this.#range(count)}`);
    const shownHeads = this.#isClasses ? heads.slice(0, 1) : heads;
    const head = h("tr", {}, ...shownHeads.map((name) => h("th", { scope: "col" }, name)), ...this.#columns.map(({ name }) => h("th", { scope: "col" }, name)));
    const rows = cells.slice(0, SHOWN_MAX).map((row, index) => h("tr", {},
      ...answers[index].slice(0, shownHeads.length).map((value) => h("td", { class: "answered" }, this.#isClasses ? value : String(Number(Number(value).toPrecision(6))))),
      ...this.#columns.map((_, at) => h("td", { class: outside[index][at] ? "outside" : "" }, outside[index][at] ? `${row[at]} (outside)` : (row[at] ?? "")))));
    this.#table.replaceChildren(h("caption", { class: "unseen" }, "Answers"), h("thead", {}, head), h("tbody", {}, ...rows));
    this.#table.parentElement.hidden = false;
    const ownHeads = header ?? this.#columns.map(({ name }) => name);
    const ownRows = header === null ? cells : own;
    const file = csv.write([[...heads, ...ownHeads], ...ownRows.map((row, index) => [...answers[index], ...row])]);
    if (this.#link !== null) URL.revokeObjectURL(this.#link);
    this.#link = URL.createObjectURL(new Blob([file], { type: "text/csv" }));
    this.#download.href = this.#link;
    this.#download.hidden = false;
  }

  /** How many rows have values unlike those of the training, as far as the page knows those. */
  #range(outside) {
    if (outside > 0) return `${words.count(outside)} ${outside === 1 ? "has" : "have"} values outside the range seen in training, marked below.`;
    return this.#columns.every((column) => column.knowsRange)
      ? "All values lie in the range seen in training." : "Which values were seen in training is not known here.";
  }

  #complain(sentence) {
    this.#problem.hidden = false;
    say(this.#problem, sentence);
    say(this.#summary, "");
    this.#table.parentElement.hidden = true;
    this.#download.hidden = true;
  }
}
