// The page of `shoal serve`: asks the server what its model takes, and sends it one row.

const element = (id) => document.getElementById(id);

/** The most columns that get a field of their own. A model of more takes a list of values in one field. */
const FIELDS_MAX = 64;

const model = await (await fetch("/model")).json();
const columns = model.columns !== null && model.columns.length <= FIELDS_MAX ? model.columns : null;
const answers = model.classes === null ? model.numbers.join(", ") : `one of ${model.classes.length} classes`;
element("model").textContent = `The network ${model.network} answers with ${answers}.`;
for (const name of columns ?? ["values, separated by commas"]) {
  const label = document.createElement("label");
  const field = document.createElement("input");
  label.append(`${name} `, field);
  const line = document.createElement("p");
  line.append(label);
  element("fields").append(line);
}
element("form").hidden = false;

element("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const values = [...element("fields").querySelectorAll("input")].map((field) => field.value);
  const row = columns === null ? values[0].split(",") : Object.fromEntries(columns.map((name, i) => [name, values[i]]));
  const answer = element("answer");
  try {
    const headers = { "content-type": "application/json" };
    const response = await fetch("/predict", { method: "POST", headers, body: JSON.stringify([row]) });
    if (!response.ok) {
      answer.textContent = await response.text();
      return;
    }
    show(answer, (await response.json()).predictions[0]);
  } catch (error) {
    answer.textContent = `The server does not answer (${error.message}). Is it still running?`;
  }
});

/** Shows a class with its probabilities, largest first, or numbers. */
function show(place, prediction) {
  const { label, probabilities } = prediction;
  const rows = Object.entries(probabilities ?? prediction);
  if (probabilities !== undefined) {
    rows.sort(([, one], [, other]) => other - one);
  }
  const list = document.createElement("ul");
  for (const [name, value] of rows.slice(0, FIELDS_MAX)) {
    const item = document.createElement("li");
    item.textContent = probabilities === undefined ? `${name}: ${value}` : `${name}: ${(100 * value).toFixed(1)} %`;
    list.append(item);
  }
  const head = document.createElement("p");
  head.textContent = label ?? "";
  place.replaceChildren(head, list);
}
