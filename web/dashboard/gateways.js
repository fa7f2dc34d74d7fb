// The gateways of a training that has several processes.

import * as words from "../words.js";
import { at, make, show } from "./dom.js";

const HEADS = ["Gateway", "Volunteers", "Cores", "Examples counted", "Traffic", "Up for"];

let shown = "";

export function showGateways({ operator }) {
  const { gateways } = operator;
  at("gateways").hidden = operator.term === null;
  show("gateways-note", gateways.length > 0
    ? `This coordinator leads, in term ${words.count(operator.term ?? 0)}.`
    : "This coordinator leads. No gateway is connected.");
  const state = JSON.stringify(gateways);
  if (state === shown) return;
  shown = state;
  const rows = gateways.map(({ name, links, volunteers, cores, examples, bytes, seconds }) => make("tr", {},
    make("th", { scope: "row" }, name, make("span", { class: "note" }, ` ${links[0] ?? ""}`)),
    ...[words.count(volunteers), words.count(cores), words.count(examples), words.megabytes(bytes), words.duration(seconds)]
      .map((text) => make("td", {}, text))));
  const head = make("tr", {}, ...HEADS.map((text) => make("th", { scope: "col" }, text)));
  const table = make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
  at("gateways-table").replaceChildren(...(gateways.length === 0 ? [] : [
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of gateways" }, table)]));
}
