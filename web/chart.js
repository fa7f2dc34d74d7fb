// Line charts, the same on every page: labelled axes, names at the ends of the lines, a cursor that the keyboard
// moves, and a table with the same numbers. The page links chart.css too.

/** A drawing is as wide as its place, in pixels at an ordinary size of letters, within these bounds. */
const WIDTH_MIN = 300;
const WIDTH_MAX = 960;
const LETTERS = 16;
const HEIGHT = 260;
const LEFT = 58;
const RIGHT = 92;
const TOP = 16;
const BOTTOM = 46;
/** An axis that may be logarithmic is so if the largest value is at least this many times the smallest. */
const LOGARITHMIC_FROM = 8;
const TICKS = 4;
/** Two names at the ends of lines keep this distance. */
const NAME_HEIGHT = 18;
/** The room that a letter of a label takes, and the room that a label on the axis takes. */
const LETTER_WIDTH = 7;
const TICK_WIDTH = 90;
/** Steps of a time axis, in seconds. */
const TIMES = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400];

let charts = 0;

export class Chart {
  #drawing = element("svg", { "aria-hidden": "true", focusable: "false" });
  #width = WIDTH_MIN;
  #slider = html("div", { class: "chart-cursor", role: "slider", tabindex: "0" });
  #readout = html("p", { class: "chart-readout note" });
  #table = html("table");
  #details = html("details");
  #content = null;
  /** The x at which the cursor stands; null means at the end. */
  #cursor = null;
  #drawn = "";

  /** A chart in `place`, which it fills. */
  constructor(place) {
    charts += 1;
    this.#readout.id = `chart-readout-${charts}`;
    this.#slider.append(this.#drawing);
    const summary = html("summary");
    summary.textContent = "The numbers as a table";
    this.#details.append(summary, html("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The numbers" }));
    this.#details.lastChild.append(this.#table);
    place.classList.add("chart");
    place.replaceChildren(this.#slider, this.#readout, this.#details);
    this.#slider.addEventListener("keydown", (event) => this.#key(event));
    this.#slider.addEventListener("pointermove", (event) => this.#point(event));
    this.#slider.addEventListener("pointerdown", (event) => this.#point(event));
    this.#slider.addEventListener("pointerleave", () => this.#move(null));
    this.#details.addEventListener("toggle", () => this.#tabulate());
    new ResizeObserver(() => this.#fit()).observe(this.#slider);
  }

  #fit() {
    const letters = parseFloat(getComputedStyle(document.documentElement).fontSize) / LETTERS;
    const width = Math.round(Math.min(Math.max(this.#slider.clientWidth / letters, WIDTH_MIN), WIDTH_MAX));
    if (width === this.#width) return;
    this.#width = width;
    if (this.#content !== null) this.#paint();
  }

  /**
   * Draws `series`, each {label, style, points: {x, y, note, gap, flag}} with x increasing. `style` is test, validation,
   * train or way (chart.css). A point with `gap` begins a new line: what was measured before it is something else. One
   * with `flag` is marked with that word.
   * `x` and `y` are {label, format, tick, logarithmic, isTime}; `bands` are {from, to, label} along x; `marks` are {x, label},
   * vertical lines where something begins. The readout of the nearest point and the table name them too.
   */
  draw(content) {
    const state = JSON.stringify([content.name, content.series, content.bands, content.marks]);
    if (state === this.#drawn) return;
    this.#drawn = state;
    this.#content = { bands: [], marks: [], ...content };
    const { series, name } = this.#content;
    const all = series.flatMap(({ points }) => points);
    const xs = [...new Set(all.map(({ x }) => x))].sort((one, other) => one - other);
    this.#content.xs = xs;
    this.#content.marks = this.#content.marks.filter(({ x }) => x >= xs[0] && x <= xs.at(-1));
    /** The labels of the marks by the point that is nearest. */
    this.#content.news = new Map();
    for (const { x, label } of this.#content.marks) {
      const at = xs[nearest(xs, x)];
      this.#content.news.set(at, [...(this.#content.news.get(at) ?? []), label]);
    }
    this.#slider.setAttribute("aria-label", [name, series.map(({ label }) => label).join(", ")].filter(Boolean).join(": "));
    this.#slider.setAttribute("aria-valuemin", "0");
    this.#slider.setAttribute("aria-valuemax", String(this.#content.xs.length - 1));
    this.#paint();
    this.#tabulate();
  }

  #paint() {
    const { series, x, y, bands, marks, xs } = this.#content;
    const values = series.flatMap(({ points }) => points.map((point) => point.y));
    const vertical = axis(Math.min(...values), Math.max(...values), y.logarithmic);
    const [first, last] = [xs[0], Math.max(xs.at(-1), xs[0] + Number.EPSILON)];
    const floor = HEIGHT - BOTTOM;
    const right = this.#width - RIGHT;
    const across = (value) => LEFT + ((value - first) / (last - first)) * (right - LEFT);
    this.#drawing.setAttribute("viewBox", `0 0 ${this.#width} ${HEIGHT}`);
    const up = (value) => TOP + (1 - vertical.position(value)) * (floor - TOP);
    const parts = [];
    for (const { from, to } of bands) {
      const [start, end] = [Math.max(from, first), Math.min(to, last)].map(across);
      if (end > start) parts.push(element("rect", { class: "band", x: start, y: TOP, width: end - start, height: floor - TOP }));
    }
    for (const { value, text } of labelled(vertical.ticks, y.tick ?? y.format)) {
      parts.push(element("line", { class: "grid", x1: LEFT, x2: right, y1: up(value), y2: up(value) }));
      parts.push(element("text", { class: "label end", x: LEFT - 8, y: up(value) + 4 }, text));
    }
    const ticks = Math.max(2, Math.min(6, (right - LEFT) / TICK_WIDTH));
    for (const { value, text } of labelled(x.isTime ? times(first, last, ticks) : steps(first, last, ticks), x.tick ?? x.format)) {
      parts.push(element("text", { class: "label middle", x: across(value), y: floor + 18 }, text));
    }
    parts.push(element("text", { class: "label middle", x: (LEFT + right) / 2, y: HEIGHT - 6 }, x.label));
    let labelFrom = 0;
    for (const { x: at, label } of marks) {
      parts.push(element("line", { class: "mark", x1: across(at), x2: across(at), y1: TOP, y2: floor }));
      // A label that would cover the one before it is left out; the line is there, and the readout names it.
      const half = (label.length * LETTER_WIDTH) / 2;
      if (across(at) - half < labelFrom) continue;
      parts.push(element("text", { class: "label middle", x: across(at), y: TOP - 4 }, label));
      labelFrom = across(at) + half + LETTER_WIDTH;
    }
    const names = [];
    for (const { label, style, points } of series) {
      const path = points.map((point, index) => `${index === 0 || point.gap ? "M" : "L"}${across(point.x).toFixed(1)},${up(point.y).toFixed(1)}`);
      parts.push(element("path", { class: `line ${style}`, d: path.join("") }));
      for (const point of points.filter(({ flag }) => flag)) {
        parts.push(element("circle", { class: `flag ${style}`, cx: across(point.x), cy: up(point.y), r: 5 }));
        // At the end of a line it would cover the line's name.
        const isLast = across(point.x) > right - LETTER_WIDTH * point.flag.length;
        const [anchor, aside] = isLast ? ["end", 8] : ["middle", 0];
        parts.push(element("text", { class: `label ${anchor} ${style}`, x: across(point.x) - aside, y: up(point.y) - 10 }, point.flag));
      }
      names.push({ label, style, y: up(points.at(-1).y), x: across(points.at(-1).x) });
    }
    apart(names, TOP + 8, floor);
    for (const { label, style, y: height, x: end } of names) {
      parts.push(element("text", { class: `name ${style}`, x: end + 8, y: height + 4 }, label));
    }
    const cursor = element("g", { class: "cursor" });
    parts.push(cursor);
    this.#drawing.replaceChildren(...parts);
    this.#content.places = { across, up, cursor, floor, first, last };
    this.#showCursor();
  }

  #showCursor() {
    const { series, x, y, xs, places } = this.#content;
    const index = this.#cursor === null ? xs.length - 1 : nearest(xs, this.#cursor);
    const at = xs[index];
    const parts = this.#cursor === null
      ? [] : [element("line", { x1: places.across(at), x2: places.across(at), y1: TOP, y2: places.floor })];
    const said = [];
    let note = "";
    for (const { label, style, points } of series) {
      const point = points[nearest(points.map((one) => one.x), at)];
      // A line that began later, or ended before, says nothing here.
      if (at < points[0].x || at > points.at(-1).x) continue;
      parts.push(element("circle", { class: style, cx: places.across(point.x), cy: places.up(point.y), r: 4.5 }));
      said.push(`${label} ${y.format(point.y)}`.trim());
      if (point.x === at && point.note) note = `, ${point.note}`;
    }
    places.cursor.replaceChildren(...parts);
    const news = this.#content.news.get(at);
    const text = `${x.format(at)}${note}: ${said.join(", ")}${news ? ` (${news.join(", ")} from here)` : ""}`;
    this.#readout.textContent = text;
    this.#slider.setAttribute("aria-valuenow", String(index));
    this.#slider.setAttribute("aria-valuetext", text);
  }

  #move(to) {
    if (this.#content === null) return;
    this.#cursor = to;
    this.#showCursor();
  }

  #point({ clientX }) {
    if (this.#content === null) return;
    const { left, width } = this.#drawing.getBoundingClientRect();
    const { first, last } = this.#content.places;
    const share = (((clientX - left) / width) * this.#width - LEFT) / (this.#width - LEFT - RIGHT);
    this.#move(first + Math.min(Math.max(share, 0), 1) * (last - first));
  }

  #key(event) {
    if (this.#content === null) return;
    const { xs } = this.#content;
    const index = this.#cursor === null ? xs.length - 1 : nearest(xs, this.#cursor);
    const targets = {
      ArrowLeft: index - 1, ArrowRight: index + 1, ArrowDown: index - 1, ArrowUp: index + 1,
      PageDown: index - 10, PageUp: index + 10, Home: 0, End: xs.length - 1,
    };
    if (!(event.key in targets)) return;
    event.preventDefault();
    this.#move(xs[Math.min(Math.max(targets[event.key], 0), xs.length - 1)]);
  }

  /** Fills the table, if it is open: nobody else needs its hundreds of rows. */
  #tabulate() {
    if (!this.#details.open || this.#content === null) return;
    const { series, x, y, xs, name } = this.#content;
    const caption = html("caption", { class: "unseen" });
    caption.textContent = name;
    const byX = series.map(({ points }) => new Map(points.map((point) => [point.x, point])));
    const head = row("th", [x.label, ...series.map(({ label }) => label)]);
    const first = (at) => [x.format(at), ...(this.#content.news.get(at) ?? [])].join(", ");
    const body = xs.map((at) => row("td", [first(at), ...byX.map((points) => (points.has(at) ? y.format(points.get(at).y) : "–"))]));
    const [thead, tbody] = [html("thead"), html("tbody")];
    thead.append(head);
    tbody.append(...body);
    this.#table.replaceChildren(caption, thead, tbody);
  }
}

/** The marks of a course from api/history; `x` says where one stands. */
export function marksOf(course, x) {
  return (course?.marks ?? []).map((mark) => ({ x: x(mark), label: mark.label })).filter((mark) => Number.isFinite(mark.x));
}

function row(tag, texts) {
  const line = html("tr");
  line.append(...texts.map((text) => {
    const cell = html(tag, tag === "th" ? { scope: "col" } : {});
    cell.textContent = text;
    return cell;
  }));
  return line;
}

/** Moves names apart that would cover each other, within the height of the drawing. */
function apart(names, top, bottom) {
  names.sort((one, other) => one.y - other.y);
  names.forEach((name, index) => {
    name.y = Math.max(name.y, index === 0 ? top : names[index - 1].y + NAME_HEIGHT);
  });
  for (let index = names.length - 1; index >= 0; index -= 1) {
    const limit = index === names.length - 1 ? bottom : names[index + 1].y - NAME_HEIGHT;
    names[index].y = Math.min(names[index].y, limit);
  }
}

/** The index of the value in `sorted` that is nearest to `wanted`. */
function nearest(sorted, wanted) {
  let best = 0;
  sorted.forEach((value, index) => {
    if (Math.abs(value - wanted) < Math.abs(sorted[best] - wanted)) best = index;
  });
  return best;
}

/** The position of a value between bottom (0) and top (1), and the values to label. */
function axis(smallest, largest, mayBeLogarithmic) {
  if (mayBeLogarithmic && smallest > 0 && largest / smallest >= LOGARITHMIC_FROM) {
    const low = Math.log(smallest) - 0.1;
    const high = Math.log(largest) + 0.1;
    return { position: (value) => (Math.log(value) - low) / (high - low), ticks: decades(smallest, largest) };
  }
  // The axis need not begin at zero, but leaves a margin, and shows values that hardly differ as nearly level.
  // Where all values are the same, the labels around them differ in the digits that they show.
  const same = Math.abs(largest) * 0.1 || 1;
  const margin = smallest === largest ? same : Math.max((largest - smallest) * 0.08, Math.abs(largest) * 1e-3);
  const bottom = smallest >= 0 ? Math.max(0, smallest - margin) : smallest - margin;
  const top = largest + margin;
  return { position: (value) => (value - bottom) / (top - bottom), ticks: steps(bottom, top, TICKS) };
}

function decades(smallest, largest) {
  const span = Math.log10(largest / smallest);
  const factors = span > 4 ? [1] : span > 1.8 ? [1, 3] : [1, 2, 5];
  const ticks = [];
  for (let decade = Math.floor(Math.log10(smallest)); decade <= Math.log10(largest); decade += span > 12 ? 4 : 1) {
    for (const factor of factors) {
      const value = factor * 10 ** decade;
      if (value >= smallest * 0.95 && value <= largest * 1.05) ticks.push(value);
    }
  }
  return ticks;
}

/** Round numbers between two values, about `count` of them, but two or more: one alone gives no scale. */
function steps(first, last, count = 5) {
  const rough = (last - first) / count;
  const decade = 10 ** Math.floor(Math.log10(rough));
  const factors = [0.5, 1, 2, 5, 10];
  const coarsest = factors.findIndex((factor) => factor > 0.5 && factor * decade >= rough);
  const ticks = multiples(factors[coarsest] * decade, first, last, 3 * count);
  return ticks.length > 1 ? ticks : multiples(factors[coarsest - 1] * decade, first, last, 3 * count);
}

/** Round times between two, at most about `count` of them. Where they would be one, the ends are named instead. */
function times(first, last, count) {
  const step = TIMES.find((seconds) => (last - first) / seconds <= count);
  if (step === undefined) return steps(first, last, count);
  const ticks = multiples(step, first, last, 3 * count);
  return ticks.length > 1 ? ticks : [Math.ceil(first), Math.floor(last)].filter((at) => at >= first && at <= last);
}

/** The multiples of `step` between two values, at most `most` of them and one. */
function multiples(step, first, last, most) {
  const found = [];
  for (let number = Math.ceil(first / step); number * step <= last && found.length <= most; number += 1) found.push(number * step);
  return found;
}

/** Values with their labels, without those that would say the same as the one before. */
function labelled(values, format) {
  const all = values.map((value) => ({ value, text: format(value) }));
  return all.filter(({ text }, at) => at === 0 || text !== all[at - 1].text);
}

function element(name, attributes, text) {
  return made(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, text);
}

function html(name, attributes = {}) {
  return made(document.createElement(name), attributes);
}

function made(node, attributes, text) {
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}
