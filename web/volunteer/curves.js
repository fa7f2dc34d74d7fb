// The two curves of the volunteer's page: accuracy and loss on examples kept aside, by time.

import { Chart, marksOf } from "../chart.js";
import { Tabs } from "../tabs.js";
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
    // Without examples kept aside there is only what the rounds measure: gradient rounds the loss at a point, local steps
    // a mean on the way to it. These are two quantities, so they are two lines.
    otherwise: [
      { key: "training_set_loss", label: "training", style: "train" },
      { key: "train_loss", label: "on the way", style: "way", onTheWay: true },
    ],
  },
};

const tabs = new Tabs(["accuracy", "loss"], () => draw(last.course, last.stays));
let chart = null;
let last = { course: null, stays: [] };

/** Draws the course ({points, marks} of api/history, or null), and whether it could. `stays` are shaded. */
export function draw(course, stays) {
  last = { course, stays };
  const history = course?.points ?? [];
  const kinds = Object.keys(KINDS).filter((kind) => lines(kind, history).length > 0);
  at("charts").hidden = kinds.length === 0;
  if (kinds.length === 0) return false;
  const kind = tabs.show(kinds);
  chart ??= new Chart(at("chart"));
  const { name, format, tick, logarithmic } = KINDS[kind];
  chart.draw({
    name,
    series: lines(kind, history),
    x: { label: "time of training", format: words.duration, isTime: true },
    y: { format, tick, logarithmic },
    bands: stays.filter(({ from, to }) => to > from).map(({ from, to }) => ({ from, to, label: "this tab" })),
    marks: marksOf(course, (mark) => mark.seconds),
  });
  return true;
}

/** The lines of that kind which have at least two points. */
function lines(kind, history) {
  const { series, otherwise } = KINDS[kind];
  const found = series.map((one) => line(one, history)).filter(({ points }) => points.length > 1);
  if (otherwise === undefined || found.some(({ style }) => style !== "train")) return found;
  return otherwise.map((one) => line(one, history)).filter(({ points }) => points.length > 1);
}

function line({ key, label, style, onTheWay = false }, history) {
  // The start point has no way to it, and a gradient round measures the point itself.
  const suits = (point) => !onTheWay || (point.iteration > 0 && point.train_loss !== point.training_set_loss && point.method !== "lbfgs");
  const known = history.filter((point) => suits(point) && Number.isFinite(point[key]) && Number.isFinite(point.seconds));
  return { label, style, points: known.map((point) => ({ x: point.seconds, y: point[key], note: `iteration ${words.count(point.iteration)}` })) };
}
