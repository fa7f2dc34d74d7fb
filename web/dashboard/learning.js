// The course of the training: loss and accuracy, and what the optimizer did.

import { Chart } from "../chart.js";
import { Tabs } from "../tabs.js";
import * as words from "../words.js";
import { at, make, show } from "./dom.js";

const KINDS = {
  loss: {
    name: "Loss",
    y: { format: words.loss, tick: words.tick, logarithmic: true },
    series: [
      { key: "test_loss", label: "test", style: "test" },
      { key: "validation_loss", label: "validation", style: "validation" },
      // The first round measures another point.
      { key: "train_loss", label: "training", style: "train", from: 1, breaks: true },
    ],
  },
  accuracy: {
    name: "Accuracy",
    y: { format: words.share, tick: words.wholeShare },
    series: [
      { key: "test_accuracy", label: "test", style: "test" },
      { key: "validation_accuracy", label: "validation", style: "validation" },
    ],
  },
};

const ACROSS = {
  rounds: { label: "rounds", format: (value) => `Round ${words.count(value)}`, tick: words.count },
  epochs: { label: "epochs", format: (value) => `${words.brief(value)} epochs`, tick: words.brief },
  seconds: { label: "time of training", format: words.duration, isTime: true },
};

/** What the optimizer did, each in a small chart. */
const DETAILS = [
  { name: "Step length", logarithmic: true, value: (point) => (point.step > 0 ? point.step : null) },
  { name: "Gradient norm", logarithmic: true, value: (point) => point.gradient_norm },
  { name: "Curvature pairs kept", counts: true, value: (point) => point.pairs },
  { name: "Rejected steps so far", counts: true, value: (point, sums) => sums.rejected },
  { name: "Damped pairs so far", counts: true, value: (point, sums) => (point.damped === null ? null : sums.damped) },
];

const tabs = new Tabs(["loss", "accuracy"], () => last !== null && draw());
let chart = null;
const small = new Map();
let last = null;

export function showLearning(answer, history) {
  last = { answer, history };
  draw();
}

function draw() {
  const { answer: { operator, marks: moments, mistakes }, history } = last;
  const x = at("across").value;
  const kinds = Object.keys(KINDS).filter((kind) => lines(kind, x, history, operator, moments).length > 0);
  at("curves").hidden = kinds.length === 0;
  at("learning-empty").hidden = kinds.length > 0;
  if (kinds.length === 0) return;
  const kind = tabs.show(kinds);
  chart ??= new Chart(at("chart"));
  const marks = moments.map((mark) => ({ x: placeOf(mark.iteration, x, history), label: mark.label })).filter((mark) => mark.x !== null);
  chart.draw({ name: KINDS[kind].name, series: lines(kind, x, history, operator, moments), x: ACROSS[x], y: KINDS[kind].y, marks });
  if (at("optimizer").open) showOptimizer(operator, mistakes, x, history, marks);
}

/** The lines of that kind which have at least two points. */
function lines(kind, x, history, { best_iteration: best }, marks) {
  const breaks = marks.map(({ iteration }) => iteration);
  const line = ({ key, label, style, from = 0, breaks: isBroken = false }) => {
    const known = history.filter((point) => point.iteration >= from && Number.isFinite(point[key]) && Number.isFinite(point[x]));
    const points = known.map((point, index) => ({
      x: point[x],
      y: point[key],
      note: `iteration ${words.count(point.iteration)}${point.iteration === best ? ", the best so far" : ""}`,
      gap: isBroken && index > 0 && breaks.some((at) => known[index - 1].iteration < at && at <= point.iteration),
      flag: point.iteration === best && key.startsWith("validation") ? "best" : undefined,
    }));
    return { label, style, points };
  };
  return KINDS[kind].series.map(line).filter(({ points }) => points.length > 1);
}

/** Where an iteration lies along the axis: at the last known point that is not after it. */
function placeOf(iteration, x, history) {
  const before = history.filter((point) => point.iteration <= iteration && Number.isFinite(point[x]));
  return before.length === 0 ? null : before.at(-1)[x];
}

function showOptimizer(operator, mistakes, x, history, marks) {
  show("method", `At present: ${operator.method}.`);
  const sums = { rejected: 0, damped: 0 };
  let rounds = null;
  let iteration = null;
  const points = history.map((point) => {
    if (rounds !== null && Number.isFinite(point.rounds)) {
      sums.rejected += Math.max(0, point.rounds - rounds - (point.iteration - iteration));
    }
    [rounds, iteration] = [point.rounds, point.iteration];
    sums.damped += point.damped ? 1 : 0;
    return { point, sums: { ...sums } };
  });
  for (const { name, value, logarithmic, counts } of DETAILS) {
    const known = points.map(({ point, sums: then }) => ({ x: point[x], y: value(point, then), note: `iteration ${words.count(point.iteration)}` }))
      .filter((one) => Number.isFinite(one.x) && Number.isFinite(one.y));
    if (!small.has(name)) {
      const place = make("div");
      const figure = make("section", { class: "small-chart" }, make("h3", {}, name), place);
      at("optimizer-charts").append(figure);
      small.set(name, { figure, chart: new Chart(place) });
    }
    const { figure, chart: drawing } = small.get(name);
    figure.hidden = known.length < 2;
    if (known.length > 1) {
      drawing.draw({
        name, series: [{ label: "", style: "test", points: known }], x: ACROSS[x], marks: marks.map(({ x: place }) => ({ x: place, label: "" })),
        y: { format: counts ? words.count : words.loss, tick: words.tick, logarithmic },
      });
    }
  }
  showLayers(mistakes);
}

/** How much the weights of each layer move, on a logarithmic scale. */
function showLayers(mistakes) {
  const moved = (mistakes?.layers ?? []).filter(({ update, weights }) => update !== null && weights > 0);
  if (moved.length === 0) {
    at("layers").replaceChildren();
    return;
  }
  const rows = moved.map(({ name, weights, update }) => {
    const ratio = update / weights;
    // From 1e-6 to 1.
    const place = ratio > 0 ? Math.min(Math.max((Math.log10(ratio) + 6) / 6, 0), 1) : 0;
    return make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, words.tick(weights)), make("td", {}, words.tick(update)),
      make("td", {}, make("meter", { max: "1", value: String(place), "aria-label": `Change of ${name} on a logarithmic scale` })),
      make("td", {}, words.tick(ratio)));
  });
  const head = ["Layer", "Size of weights", "Size of change", "Logarithmic", "Change / weights"].map((text) => make("th", { scope: "col" }, text));
  at("layers").replaceChildren(make("h3", {}, "Change of the weights between the last two examinations"),
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Change of the weights by layer" },
      make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows))));
}

at("across").addEventListener("change", () => last !== null && draw());
at("optimizer").addEventListener("toggle", () => last !== null && draw());
