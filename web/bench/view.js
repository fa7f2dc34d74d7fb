// Puts the benchmark's progress and results on the page.

const at = (id) => document.getElementById(id);
const COPIED_MS = 3000;

const LABELS = ["Case", "Arithmetic", "Cores", "GFLOP/s", "Median", "Share of the roof", "Examples/s"];

/** Start can be pressed. */
export function ready() {
  at("again").disabled = false;
}

/** A measurement begins. */
export function begin() {
  at("again").disabled = true;
  at("copy").hidden = true;
  at("progress").hidden = false;
  at("results").hidden = false;
  at("problem").hidden = true;
  at("rows").replaceChildren();
  at("json").textContent = "";
  progress(0);
}

export function say(sentence) {
  at("status").textContent = sentence;
}

export function progress(share) {
  at("progress").value = share;
}

/** Shows which machine this is and what it cannot do. */
export function introduce({ machine, missing }) {
  at("machine").textContent = `${machine.cores === 1 ? "One core" : `${machine.cores} cores`}, ${machine.name}`;
  at("missing").hidden = missing.length === 0;
  at("missing").textContent = missing
    .map(({ arithmetic, reason }) => `There are no ${arithmetic} rows. ${reason} It can still help a portable training.`)
    .join(" ");
}

/** Shows the results so far: each group of rows below its roof. */
export function show({ roofs, cases }) {
  const rows = roofs.flatMap((roof) => [
    row({ case: "the roof", ...roof }, "roof"),
    ...cases.filter((one) => one.arithmetic === roof.arithmetic && one.cores === roof.cores).map((one) => row(one)),
  ]);
  at("rows").replaceChildren(...rows);
}

export function finish(result) {
  show(result);
  at("progress").hidden = true;
  say(inOneSentence(result));
  at("json").textContent = JSON.stringify(result, null, 2);
  offerAgain();
  at("copy").hidden = false;
}

function offerAgain() {
  at("again").textContent = "Measure again";
  at("again").disabled = false;
}

/** The answer that most visitors came for. */
function inOneSentence({ cases }) {
  const best = cases.reduce((one, other) => (isBetter(one, other) ? one : other));
  const data = best.case.includes("mnist") ? "images of handwritten digits" : "examples";
  const cores = best.cores === 1 ? "one core" : `${best.cores} cores`;
  return `This device trains about ${rounded(best.examples_per_second)} ${data} a second on ${cores} (${best.case}, ${best.arithmetic}).`;
}

/** Digits say more than random numbers, and training says more than evaluating. */
function isBetter(one, other) {
  const rank = ({ case: name }) => 2 * Number(name.includes("mnist")) + Number(name.startsWith("local"));
  return rank(one) !== rank(other) ? rank(one) > rank(other) : one.examples_per_second >= other.examples_per_second;
}

/** Two significant digits: more would not be the same the next time. */
const rounded = (number) => Number(number.toPrecision(2)).toLocaleString("en");

export function fail(reason) {
  say("The measurement could not be finished.");
  at("problem").textContent = reason;
  at("problem").hidden = false;
  at("progress").hidden = true;
  at("results").hidden = at("rows").childElementCount === 0;
  offerAgain();
}

/** Calls `measure` when the visitor wants to measure. */
export function onStart(measure) {
  at("again").addEventListener("click", measure);
}

at("no-script").remove();

at("copy").addEventListener("click", async () => {
  const json = at("json");
  try {
    await navigator.clipboard.writeText(json.textContent);
    at("copied").textContent = "Copied.";
  } catch {
    // Browsers give the clipboard only to encrypted pages and to pages of this machine.
    json.closest("details").open = true;
    getSelection().selectAllChildren(json);
    at("copied").textContent = "The text below is selected: copy it from there.";
  }
  setTimeout(() => (at("copied").textContent = ""), COPIED_MS);
});

function row(one, kind = "") {
  const cells = [
    cell("th", one.case),
    cell("td", one.arithmetic),
    cell("td", String(one.cores), "number"),
    cell("td", decimals(one.gflops), "number"),
    cell("td", decimals(one.gflops_median), "number median"),
    cell("td", "", "number"),
    cell("td", one.examples_per_second ? count(one.examples_per_second) : "", "number"),
  ];
  cells[0].scope = "row";
  cells.forEach((cell, index) => (cell.dataset.label = LABELS[index]));
  // A share of more than everything would be nonsense: the operations that skipped zeros save were not done.
  if (one.roof_share > 1) cells[5].append("zeros skipped");
  else if (one.roof_share !== undefined) cells[5].append(`${Math.round(one.roof_share * 100)} %`, bar(one.roof_share));
  const element = document.createElement("tr");
  element.className = kind;
  element.append(...cells);
  return element;
}

function cell(tag, text, kind = "") {
  const element = document.createElement(tag);
  element.className = kind;
  element.textContent = text;
  return element;
}

/** The share as a bar, full at the roof. */
function bar(share) {
  const [track, fill] = [document.createElement("span"), document.createElement("span")];
  track.className = "share";
  track.setAttribute("aria-hidden", "true");
  fill.style.width = `${Math.min(share, 1) * 100}%`;
  track.append(fill);
  return track;
}

const decimals = (number) => number.toLocaleString("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const count = (number) => Math.round(number).toLocaleString("en");
