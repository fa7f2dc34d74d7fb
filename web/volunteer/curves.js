// The two curves of the volunteer's page: accuracy and loss on examples kept aside, by time.

import { Chart } from "../chart.js";
import * as words from "../words.js";

const at = (id) => document.getElementById(id);
const KINDS = {
  accuracy: {
    name: "Accuracy",
    format: words.share,
    tick: words.wholeShare,
    series: [
      { key: "test_accuracy", label: "test", style: "test" },
      { key: "validation_accuracy", label: "validation", style: "validation" },
    ],
  },
  loss: {
    name: "Loss",
    format: words.loss,
    tick: words.tick,
    logarithmic: true,
    series: [
      { key: "test_loss", label: "test", style: "test" },
      { key: "validation_loss", label: "validation", style: "validation" },
      { key: "training_set_loss", label: "training", style: "train" },
    ],
    // Without examples kept aside there is only what the rounds measure. The first round measures something else.
    otherwise: [{ key: "train_loss", label: "training rounds", style: "train", from: 1 }],
  },
};

let chosen = "accuracy";
let chart = null;
let last = { history: [], stays: [] };

/** Draws the course ({iteration, seconds, test_accuracy, ...}), and whether it could. `stays` are shaded. */
export function draw(history, stays) {
  last = { history, stays };
  const kinds = Object.keys(KINDS).filter((kind) => lines(kind, history).length > 0);
  at("charts").hidden = kinds.length === 0;
  if (kinds.length === 0) return false;
  const kind = kinds.includes(chosen) ? chosen : kinds[0];
  for (const name of Object.keys(KINDS)) {
    const tab = at(`tab-${name}`);
    tab.hidden = !kinds.includes(name);
    tab.setAttribute("aria-selected", String(name === kind));
    tab.tabIndex = name === kind ? 0 : -1;
  }
  at("chart").setAttribute("aria-labelledby", `tab-${kind}`);
  chart ??= new Chart(at("chart"));
  const { name, format, tick, logarithmic } = KINDS[kind];
  chart.draw({
    name,
    series: lines(kind, history),
    x: { label: "time of training", format: words.duration },
    y: { format, tick, logarithmic },
    bands: stays.filter(({ from, to }) => to > from).map(({ from, to }) => ({ from, to, label: "this tab" })),
  });
  return true;
}

/** The lines of that kind which have at least two points. */
function lines(kind, history) {
  const { series, otherwise } = KINDS[kind];
  const found = series.map((one) => line(one, history)).filter(({ points }) => points.length > 1);
  if (found.length > 0 || otherwise === undefined) return found;
  return otherwise.map((one) => line(one, history)).filter(({ points }) => points.length > 1);
}

function line({ key, label, style, from = 0 }, history) {
  const known = history.filter((point) => point.iteration >= from && Number.isFinite(point[key]) && Number.isFinite(point.seconds));
  return { label, style, points: known.map((point) => ({ x: point.seconds, y: point[key], note: `iteration ${words.count(point.iteration)}` })) };
}

const tabs = ["accuracy", "loss"];
for (const kind of tabs) {
  at(`tab-${kind}`).addEventListener("click", () => choose(kind));
  at(`tab-${kind}`).addEventListener("keydown", ({ key }) => {
    if (key !== "ArrowLeft" && key !== "ArrowRight") return;
    const other = tabs.find((name) => name !== kind && !at(`tab-${name}`).hidden);
    if (other === undefined) return;
    choose(other);
    at(`tab-${other}`).focus();
  });
}

function choose(kind) {
  chosen = kind;
  draw(last.history, last.stays);
}
