// What was done on this page, the newest first.

import * as words from "../words.js";
import { at, make } from "./dom.js";

let shown = "";

export function showLog(entries) {
  const state = JSON.stringify(entries);
  if (state === shown) return;
  shown = state;
  at("log-empty").hidden = entries.length > 0;
  at("log-list").replaceChildren(...entries.toReversed().map(({ time, sentence, from }) => {
    const date = new Date(1000 * time);
    const when = make("time", { datetime: date.toISOString() }, words.clockSeconds(date));
    return make("li", {}, when, ` ${sentence} `, make("span", { class: "note" }, `From ${from}.`));
  }));
}
