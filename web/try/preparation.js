// From cells to the stored values of a network's inputs, as the training's own preparation makes them
// (table/src/preparation): numbers cut off and shifted, categories as one of several, dates as points on circles.

import { ISO, secondsOf, turnsOf, written } from "./dates.js";

const STORED_MAX = 1e30;
const TRUE = new Set(["true", "yes", "t", "y"]);
const FALSE = new Set(["false", "no", "f", "n"]);
const DAY = 86_400;

/** A cell that cannot be read; its message is a sentence for the visitor. */
export class CellError extends Error {}

/** One column of a model: what its cells are, and what they become. */
export class ColumnReader {
  #column;
  #missing;
  #kind;
  #becomes;

  constructor(column, missing, seen) {
    this.#column = column;
    this.#missing = missing;
    [[this.#kind, this.#becomes]] = Object.entries(column.becomes);
    /** What occurred in training: {low, high, typical} of numbers (for dates, days since 1970), or {typical} of texts. */
    this.seen = seen ?? null;
  }

  get name() {
    return this.#column.name === "" ? `column ${this.#column.position + 1}` : this.#column.name;
  }

  /** "number", "boolean", "category", "date" or "text". */
  get kind() {
    return this.#column.kind;
  }

  /** The values that have an input of their own; null if the column is not a category. */
  get values() {
    return this.#kind === "category" ? this.#becomes.values : null;
  }

  /** The number of inputs it becomes. */
  get inputs() {
    const { number, days, values = [], other = false, missing } = this.#becomes;
    const turns = ["year", "week", "day"].filter((turn) => this.#becomes[turn]).length;
    return (number || days ? 1 : 0) + values.length + (other ? 1 : 0) + 2 * turns + (missing ? 1 : 0);
  }

  /** A typical cell as people write it. */
  get typical() {
    if (this.#kind === "category") return this.seen?.typical ?? this.#becomes.values[0] ?? "";
    const number = this.#becomes.number ?? this.#becomes.days;
    if (!number) return "";
    return this.#written(this.seen?.typical ?? number.median * number.unit + number.shift);
  }

  /** The range in training as a person reads it: {low, high}, or null. */
  get range() {
    if (this.seen?.low === undefined) return null;
    return { low: this.#written(this.seen.low), high: this.#written(this.seen.high) };
  }

  /** Whether it is known what occurred in training. */
  get knowsRange() {
    if (this.#kind === "category") return this.#becomes.rare !== null;
    return this.seen?.low !== undefined;
  }

  /** Whether a cell lies outside of what occurred in training. */
  isOutside(text) {
    if (this.#isMissing(text)) return false;
    if (this.#kind === "category") {
      const { values, rare } = this.#becomes;
      return !values.includes(text.trim()) && rare !== null && !rare.includes(text.trim());
    }
    if (this.seen?.low === undefined) return false;
    const value = this.#kind === "date" ? this.#number(text) / DAY : this.#number(text);
    // As wide as the precision in which values are stored.
    const slack = 1e-6 * Math.max(Math.abs(this.seen.low), Math.abs(this.seen.high));
    return value < this.seen.low - slack || value > this.seen.high + slack;
  }

  /** Writes the stored values of a cell to `inputs`, from `at` on. */
  write(text, inputs, at, commas = false) {
    const isMissing = this.#isMissing(text);
    const { missing } = this.#becomes;
    if (this.#kind === "category") {
      const { values, other } = this.#becomes;
      const place = values.indexOf(text.trim());
      if (isMissing) {
        if (missing) inputs[at + values.length + (other ? 1 : 0)] = 1;
      } else if (place >= 0) {
        inputs[at + place] = 1;
      } else if (other) {
        inputs[at + values.length] = 1;
      }
      return;
    }
    const value = isMissing ? NaN : this.#number(text, commas);
    let place = at;
    const number = this.#becomes.number ?? this.#becomes.days;
    if (number) {
      inputs[place] = isMissing ? number.median : stored(this.#kind === "date" ? value / DAY : value, number);
      place += 1;
    }
    if (this.#kind === "date") {
      const turns = isMissing ? null : turnsOf(value);
      for (const turn of ["year", "week", "day"]) {
        if (!this.#becomes[turn]) continue;
        if (turns !== null) {
          inputs[place] = Math.sin(2 * Math.PI * turns[turn]);
          inputs[place + 1] = Math.cos(2 * Math.PI * turns[turn]);
        }
        place += 2;
      }
    }
    if (missing && isMissing) inputs[place] = 1;
  }

  #isMissing(text) {
    return this.#missing.has(text.trim());
  }

  #number(text, commas = false) {
    const cell = text.trim();
    if (this.#kind === "date") {
      // As the training data has dates, or as databases write them.
      const own = secondsOf(cell, this.#column["date-format"] ?? ISO);
      const seconds = Number.isNaN(own) ? secondsOf(cell, ISO) : own;
      if (Number.isNaN(seconds)) throw new CellError(`${this.name}: “${cell}” is no date like ${this.typical || "2024-12-31"}.`);
      return seconds;
    }
    if (this.kind === "boolean") {
      if (TRUE.has(cell.toLowerCase())) return 1;
      if (FALSE.has(cell.toLowerCase())) return 0;
    }
    const plain = commas ? cell.replaceAll(".", "").replace(",", ".") : cell;
    const number = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(plain) ? Number(plain) : NaN;
    if (this.kind === "boolean" && number !== 0 && number !== 1) {
      throw new CellError(`${this.name}: “${cell}” is neither true nor false.`);
    }
    if (!Number.isNaN(number)) return number;
    throw new CellError(`${this.name}: “${cell}” is no number; write one like ${this.typical || "1.5"}.`);
  }

  #written(value) {
    if (this.#kind === "date") return written(value, this.#column["date-format"]);
    if (this.kind === "boolean") return value >= 0.5 ? "true" : "false";
    return String(Number(value.toPrecision(6)));
  }
}

function stored(value, { low, high, shift, unit }) {
  const cut = Math.min(Math.max(value, low ?? -Infinity), high ?? Infinity);
  return Math.min(Math.max((cut - shift) / unit, -STORED_MAX), STORED_MAX);
}

/** The readers of a model's columns. `missing` are the texts that stand for a value nobody knows. */
export function readers({ preparation, missing, seen }) {
  const texts = new Set(missing);
  return preparation.columns.map((column, index) => new ColumnReader(column, texts, seen[index]));
}

/** The stored values of rows, each a list of cells in the columns' order, row-major. */
export function inputsOf(columns, rows, commas = false) {
  const width = columns.reduce((sum, column) => sum + column.inputs, 0);
  const inputs = new Float32Array(rows.length * width);
  rows.forEach((cells, row) => {
    let at = row * width;
    columns.forEach((column, index) => {
      try {
        column.write(cells[index] ?? "", inputs, at, commas);
      } catch (error) {
        if (error instanceof CellError && rows.length > 1) throw new CellError(`Row ${row + 1}, ${error.message}`);
        throw error;
      }
      at += column.inputs;
    });
  });
  return inputs;
}
