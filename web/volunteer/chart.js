// Draws the training loss over the iterations as one line, and says the same in the caption.

import * as words from "./words.js";

const WIDTH = 640;
const HEIGHT = 240;
const LEFT = 52;
const RIGHT = 16;
const TOP = 14;
const BOTTOM = 34;
/** The axis is logarithmic if the largest loss is at least this many times the smallest. */
const LOGARITHMIC_FROM = 8;
const TICKS = 4;

/** Draws `points` ({iteration, train_loss}) into `svg` and says the same in `caption`. */
export function draw(svg, caption, points) {
  const finite = points.filter((point) => Number.isFinite(point.train_loss));
  if (finite.length === 0) return;
  caption.textContent = describe(finite);
  const losses = finite.map((point) => point.train_loss);
  const vertical = verticalAxis(Math.min(...losses), Math.max(...losses));
  const first = finite[0].iteration;
  const last = Math.max(finite.at(-1).iteration, first + 1);
  const x = (iteration) => LEFT + ((iteration - first) / (last - first)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + (1 - vertical.position(value)) * (HEIGHT - TOP - BOTTOM);

  const parts = [];
  for (const value of vertical.ticks) {
    parts.push(element("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }));
    parts.push(element("text", { class: "label end", x: LEFT - 8, y: y(value) + 4 }, words.tick(value)));
  }
  for (const iteration of wholeTicks(first, last)) {
    parts.push(element("text", { class: "label middle", x: x(iteration), y: HEIGHT - 12 }, words.count(iteration)));
  }
  const line = finite.map((point) => `${x(point.iteration).toFixed(1)},${y(point.train_loss).toFixed(1)}`);
  const floor = HEIGHT - BOTTOM;
  const end = finite.at(-1);
  parts.push(element("path", { class: "area", d: `M${LEFT},${floor}L${line.join("L")}L${x(end.iteration).toFixed(1)},${floor}Z` }));
  parts.push(element("path", { class: "line", d: `M${line.join("L")}` }));
  parts.push(element("circle", { class: "end-point", cx: x(end.iteration), cy: y(end.train_loss), r: 5 }));
  svg.replaceChildren(...parts);
}

function describe(points) {
  const start = points[0];
  const end = points.at(-1);
  if (start === end) return `Training loss: ${words.loss(start.train_loss)} at iteration ${words.count(start.iteration)}.`;
  const lowest = points.reduce((best, point) => (point.train_loss < best.train_loss ? point : best));
  const course = end.train_loss < start.train_loss ? "fell" : "went";
  const low = lowest.train_loss > 0.98 * end.train_loss ? "" : ` The lowest was ${words.loss(lowest.train_loss)} at iteration ${words.count(lowest.iteration)}.`;
  return `Training loss by iteration: it ${course} from ${words.loss(start.train_loss)} at iteration ${words.count(start.iteration)} `
    + `to ${words.loss(end.train_loss)} at iteration ${words.count(end.iteration)}.${low}`;
}

/** The position of a loss between bottom (0) and top (1), and the values to label. */
function verticalAxis(smallest, largest) {
  if (smallest > 0 && largest / smallest >= LOGARITHMIC_FROM) {
    const low = Math.log(smallest) - 0.1;
    const high = Math.log(largest) + 0.1;
    const position = (value) => (Math.log(value) - low) / (high - low);
    return { position, ticks: logarithmicTicks(smallest, largest) };
  }
  const bottom = Math.min(0, smallest);
  const top = Math.max(largest, bottom + Number.EPSILON) * 1.05;
  const step = niceStep((top - bottom) / TICKS);
  const ticks = [];
  for (let value = Math.ceil(bottom / step) * step; value <= top && ticks.length <= 2 * TICKS; value += step) ticks.push(value);
  return { position: (value) => (value - bottom) / (top - bottom), ticks };
}

function logarithmicTicks(smallest, largest) {
  const decades = Math.log10(largest / smallest);
  const steps = decades > 4 ? [1] : decades > 1.8 ? [1, 3] : [1, 2, 5];
  const ticks = [];
  for (let decade = Math.floor(Math.log10(smallest)); decade <= Math.log10(largest); decade += decades > 12 ? 4 : 1) {
    for (const step of steps) {
      const value = step * 10 ** decade;
      if (value >= smallest * 0.95 && value <= largest * 1.05) ticks.push(value);
    }
  }
  return ticks;
}

function wholeTicks(first, last) {
  const step = Math.max(1, niceStep((last - first) / 6));
  const ticks = [];
  for (let value = Math.ceil(first / step) * step; value <= last; value += step) ticks.push(value);
  return ticks;
}

function niceStep(rough) {
  const decade = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].find((factor) => factor * decade >= rough) * decade;
}

function element(name, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}
