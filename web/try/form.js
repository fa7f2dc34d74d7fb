// The part of the page for tables: a field for each column, filled with a typical row.

import { h, say } from "./dom.js";
import { CellError } from "./preparation.js";

/** Columns that have a field. The others of a wide table keep their typical value. */
const FIELDS_MAX = 100;
const MISSING = "(missing)";

export class Form {
  #columns;
  #cells;
  #fields = [];
  #onRow;

  /** Calls `onRow(cells)` with a row of cells, or `onRow(null, sentence)` if one of them cannot be read. */
  constructor(columns, onRow) {
    [this.#columns, this.#onRow] = [columns, onRow];
    this.#cells = columns.map((column) => column.typical);
    const fields = columns.slice(0, FIELDS_MAX).map((column, index) => this.#field(column, index));
    const more = columns.length - FIELDS_MAX;
    this.element = h("form", { class: "fields", id: "form", submit: (event) => event.preventDefault() }, ...fields);
    if (more > 0) this.element.append(h("p", { class: "note" }, `${more} more columns keep a typical value; paste a row below to change them.`));
  }

  /** Tells of the row as it is. */
  tell() {
    try {
      this.#columns.forEach((column, index) => column.write(this.#cells[index], new Float32Array(column.inputs), 0));
      this.#onRow([...this.#cells]);
    } catch (error) {
      if (!(error instanceof CellError)) throw error;
      this.#onRow(null, error.message);
    }
  }

  #field(column, index) {
    const id = `field-${index}`;
    const hint = h("span", { class: "hint", id: `${id}-hint` });
    let field;
    if (column.values !== null) {
      const options = [...column.values, MISSING].map((value) => h("option", { value, selected: value === column.typical }, value));
      field = h("select", { id, "aria-describedby": hint.id }, ...options);
    } else {
      const inputmode = column.kind === "number" ? "decimal" : null;
      field = h("input", { id, type: "text", inputmode, value: column.typical, autocomplete: "off", "aria-describedby": hint.id });
    }
    field.addEventListener("input", () => {
      this.#cells[index] = field.value === MISSING ? "" : field.value;
      this.#mark(column, field, hint);
      this.tell();
    });
    this.#fields.push(field);
    this.#mark(column, field, hint);
    return h("div", { class: "field" }, h("label", { for: id }, column.name), field, hint);
  }

  #mark(column, field, hint) {
    const { range, kind } = column;
    const seen = range === null || kind === "boolean" ? "" : `, ${range.low} to ${range.high}`;
    const typical = column.typical === "" ? "" : `, typically ${column.typical}`;
    let outside = false;
    let unreadable = false;
    try {
      column.write(field.value === MISSING ? "" : field.value, new Float32Array(column.inputs), 0);
      outside = field.value !== MISSING && column.isOutside(field.value);
    } catch {
      unreadable = true;
    }
    field.setAttribute("aria-invalid", String(unreadable));
    hint.classList.toggle("outside", outside);
    say(hint, outside
      ? `Outside the range seen in training${range === null ? "" : ` (${range.low} to ${range.high})`}: expect little.`
      : `${kind === "boolean" ? "true or false" : kind}${seen}${typical}`);
  }
}
