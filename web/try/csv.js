// Tables as people paste and drop them.

const SEPARATORS = [",", ";", "\t"];

/** The rows of a CSV text, each a list of cells, and its separator. Quoted cells may hold separators and line ends. */
export function parse(text) {
  const first = text.split(/\r?\n|\r/, 1)[0];
  const count = (separator) => first.split(separator).length;
  const separator = SEPARATORS.reduce((best, one) => (count(one) > count(best) ? one : best));
  const rows = [];
  let row = [];
  let cell = "";
  let quoted = false;
  const endCell = () => {
    row.push(cell.trim());
    cell = "";
  };
  const endRow = () => {
    endCell();
    if (row.length > 1 || row[0] !== "") rows.push(row);
    row = [];
  };
  const whole = text.replace(/^\uFEFF/, "");
  for (let at = 0; at < whole.length; at += 1) {
    const letter = whole[at];
    if (quoted) {
      if (letter !== '"') cell += letter;
      else if (whole[at + 1] === '"') cell += whole[(at += 1)];
      else quoted = false;
    } else if (letter === '"' && cell.trim() === "") {
      cell = "";
      quoted = true;
    } else if (letter === separator) {
      endCell();
    } else if (letter === "\n" || letter === "\r") {
      if (letter === "\r" && whole[at + 1] === "\n") at += 1;
      endRow();
    } else {
      cell += letter;
    }
  }
  endRow();
  return { rows, separator };
}

/** Rows as CSV text. */
export function write(rows) {
  const cell = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  return rows.map((row) => `${row.map((value) => cell(String(value))).join(",")}\n`).join("");
}

/**
 * The rows in a model's order of columns, {rows, header}: by the names in the first line, in any order, or else by
 * position. `preparation` is the model's. Throws an Error with a sentence for the visitor.
 */
export function arrange(rows, { columns, labels, named, width }) {
  if (rows.length === 0) throw new Error("There are no rows.");
  const names = columns.map(({ name }) => name);
  const positions = names.map((name) => rows[0].indexOf(name));
  if (named && positions.every((position) => position >= 0)) {
    return { header: rows[0], rows: rows.slice(1), cells: rows.slice(1).map((row) => positions.map((position) => row[position] ?? "")) };
  }
  if (named && positions.some((position) => position >= 0)) {
    const absent = names.filter((_, index) => positions[index] < 0);
    throw new Error(`${absent.length === 1 ? "The column" : "The columns"} ${absent.join(", ")} ${absent.length === 1 ? "is" : "are"} missing: the first line has ${rows[0].join(", ")}.`);
  }
  const labelled = labels.map(({ position }) => position);
  const before = (position) => labelled.filter((label) => label < position).length;
  const cells = rows.map((row, index) => {
    if (row.length === width) return columns.map(({ position }) => row[position]);
    if (row.length === width - labelled.length) return columns.map(({ position }) => row[position - before(position)]);
    throw new Error(`Row ${index + 1} has ${row.length} cells, but the model's data had ${width}, or ${width - labelled.length} without the label. A first line with the columns' names lets them come in any order.`);
  });
  return { header: null, rows, cells };
}
