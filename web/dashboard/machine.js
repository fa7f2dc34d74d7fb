// Where the data are, and how busy the coordinator's machine is.

import * as words from "../words.js";
import { at, make, show } from "./dom.js";

let shown = "";

/** Copies of shards, and by class how much of the data volunteers hold. */
export function showData({ copies, coverage }) {
  const state = JSON.stringify([copies, coverage]);
  if (state === shown) return;
  shown = state;
  const shards = copies.reduce((sum, one) => sum + one.shards, 0);
  const parts = copies.map(({ copies: number, shards: count }) => `${words.count(count)} with ${number === 0
    ? "nobody" : words.plural(number, "volunteer", "volunteers")}`);
  show("copies", shards === 0 ? "" : `${words.plural(shards, "shard", "shards")} of the training data: ${parts.join(", ")}. `
    + "The coordinator has them all.");
  const rows = coverage.map(({ class: name, examples, held }) => {
    const share = examples === 0 ? 0 : held / examples;
    const label = name === "" ? "All examples" : name;
    const bar = make("meter", { max: "1", value: String(share), "aria-label": `Share of ${label} with volunteers` });
    return make("tr", {}, make("th", { scope: "row" }, label), make("td", {}, words.count(examples)),
      make("td", {}, bar), make("td", {}, words.wholeShare(share)));
  });
  const head = ["Class", "Examples", "Part", "With volunteers"].map((text) => make("th", { scope: "col" }, text));
  const region = { class: "scroll", tabindex: "0", role: "region", "aria-label": "Examples by class" };
  at("coverage").replaceChildren(make("div", region, make("table", {},
    make("caption", { class: "unseen" }, "Training examples that volunteers hold, by class"),
    make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows))));
}

/** Processor, memory, network and disk. */
export function showSystem(system) {
  const share = (value) => (value === null ? "–" : words.wholeShare(value));
  show("processor", share(system.processor));
  const cores = `of ${words.plural(system.cores, "core", "cores")}`;
  const own = system.processor_of_process;
  show("processor-note", own === null ? cores : `${cores}; this program ${share(own)}`);
  show("memory", system.memory_of_process === null ? "–" : words.megabytes(system.memory_of_process));
  show("memory-note", system.memory === null ? "this program"
    : `this program; ${words.megabytes(system.memory[0])} of ${words.megabytes(system.memory[1])} in use`);
  const { sent_per_second: sent, received_per_second: received } = system;
  show("network-rate", sent === null || received === null ? "–" : `${words.megabytes(sent + received)}/s`);
  show("network-note", `${words.megabytes(system.sent)} sent, ${words.megabytes(system.received)} received in all`);
  show("disk", system.disk_free === null ? "–" : words.megabytes(system.disk_free));
}
