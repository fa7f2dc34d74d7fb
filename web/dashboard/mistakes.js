// What the network takes for what: a matrix of counts with rows shaded, or the most frequent mistakes; examples of each.

import * as words from "../words.js";
import { examplesOf } from "./coordinator.js";
import { at, make, show } from "./dom.js";

const SHADES = 9;

let shown = "";

export function showMistakes(mistakes) {
  if (mistakes === null) return;
  const { examples, of, set, iteration, matrix, pairs, classes } = mistakes;
  const state = JSON.stringify([iteration, matrix, pairs]);
  if (state === shown) return;
  shown = state;
  if (examples === 0) {
    show("mistakes-note", "This network predicts numbers, so no class is taken for another.");
    return;
  }
  const part = examples < of ? `${words.count(examples)} of ${words.count(of)}` : words.count(of);
  show("mistakes-note", `After iteration ${words.count(iteration)}, on ${part} ${set} examples. Rows are the true class, columns `
    + "the class that was named. Choose a mistake to see examples.");
  const focused = document.activeElement?.dataset?.pair;
  at("matrix").hidden = false;
  at("matrix").replaceChildren(matrix.length > 0 ? whole(matrix, classes) : list(pairs));
  if (focused) at("matrix").querySelector(`[data-pair="${focused}"]`)?.focus();
}

function whole(matrix, classes) {
  const head = make("tr", {}, make("th", { scope: "col" }, "true\u00a0\u2193 named\u00a0\u2192"), ...classes.map((name) => make("th", { scope: "col" }, name)));
  const lines = matrix.map((row, truth) => {
    const all = Math.max(1, row.reduce((sum, count) => sum + count, 0));
    const cells = row.map((count, named) => {
      const shade = count === 0 ? 0 : Math.max(1, Math.round((SHADES * count) / all));
      const kind = truth === named ? "right" : "wrong";
      const content = truth === named || count === 0 ? words.count(count)
        : choice(truth, named, classes[truth], classes[named], count, words.count(count));
      return make("td", { class: `${kind} s${shade}` }, content);
    });
    return make("tr", {}, make("th", { scope: "row" }, classes[truth]), ...cells);
  });
  return make("table", { class: "matrix" }, make("caption", { class: "unseen" }, "What was taken for what"),
    make("thead", {}, head), make("tbody", {}, ...lines));
}

function list(pairs) {
  const head = ["True class", "Named", "Times"].map((text) => make("th", { scope: "col" }, text));
  const lines = pairs.map(([truth, named, trueName, givenName, count]) => make("tr", {},
    make("th", { scope: "row" }, trueName), make("td", {}, givenName),
    make("td", {}, choice(truth, named, trueName, givenName, count, words.count(count)))));
  return make("table", {}, make("caption", { class: "unseen" }, "The most frequent mistakes"),
    make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...lines));
}

function choice(truth, named, trueName, givenName, count, text) {
  const button = make("button", {
    type: "button", class: "cell", "data-pair": `${truth},${named}`,
    "aria-label": `${words.plural(count, "example", "examples")} of ${trueName} taken for ${givenName}: show`,
  }, text);
  button.addEventListener("click", () => showExamples(truth, named, trueName, givenName));
  return button;
}

async function showExamples(truth, named, trueName, givenName) {
  const title = make("h3", {}, `${trueName}, taken for ${givenName}`);
  let found = [];
  try {
    found = await examplesOf(truth, named);
  } catch {
    at("examples").replaceChildren(title, make("p", {}, "The examples could not be fetched; try again."));
    return;
  }
  const close = make("button", { type: "button", class: "small" }, "Close");
  close.addEventListener("click", () => {
    at("examples").replaceChildren();
    at("matrix").querySelector(`[data-pair="${truth},${named}"]`)?.focus();
  });
  const pictures = found.map((example) => (example.shape === null ? rowOf(example) : pictureOf(example)));
  at("examples").replaceChildren(title, make("div", { class: "pictures" }, ...pictures), close);
}

function pictureOf({ shape, pixels, number }) {
  const [channels, height, width] = shape;
  const canvas = make("canvas", { width, height, role: "img", "aria-label": `Example ${number}`, title: `Example ${number}` });
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let place = 0; place < width * height; place += 1) {
    for (let channel = 0; channel < 3; channel += 1) {
      image.data[4 * place + channel] = pixels[(channels === 1 ? 0 : channel) * width * height + place];
    }
    image.data[4 * place + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

function rowOf({ columns, number }) {
  const items = columns.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
  return make("div", { class: "example-row" }, make("p", { class: "note" }, `Example ${number}`), make("dl", {}, ...items));
}
