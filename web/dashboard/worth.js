// Whether the volunteers are worth their cost: four figures, and what follows from them.

import * as words from "../words.js";
import { show } from "./dom.js";

/** Shares from which on something is worth a sentence. */
const MUCH_TWICE = 0.25;
const MUCH_WAITING = 0.3;

export function showWorth({ status, operator, system }) {
  const { speed, waiting, duplicated, bytes_per_iteration: bytes } = operator.worth;
  show("worth-speed", known(speed) && speed > 0 ? times(speed) : "–");
  show("worth-waiting", known(waiting) ? words.share(waiting) : "–");
  show("worth-duplicated", known(duplicated) ? words.share(duplicated) : "–");
  show("worth-traffic", known(bytes) ? words.megabytes(bytes) : "–");
  show("verdict", verdict(status, operator, system));
}

/** 1.4142 -> "1.4". */
const times = (value) => words.brief(Number(value.toPrecision(2)));

const known = (value) => Number.isFinite(value);

function verdict({ volunteers, phase, local_worker: own }, { paused, worth }, { cores }) {
  const { speed, waiting, duplicated } = worth;
  if (phase === "finished") return "The training is over. These figures are its last.";
  if (paused) return "Nobody is computing: the training is paused.";
  if (volunteers === 0) {
    return phase === "waiting" ? "Nobody is computing yet." : "No volunteers: this machine computes alone.";
  }
  const who = `${words.plural(volunteers, "volunteer", "volunteers")}${own ? " and this machine" : ""}`;
  if (!known(speed) || speed === 0) return `${who}: not measured yet.`;
  const sentences = [`${who}: ${times(speed)} times as fast as one core of this machine.`];
  if (speed < cores) {
    sentences.push(`That is no more than this machine's own ${words.plural(cores, "core", "cores")} could do.`);
  }
  if (known(duplicated) && duplicated >= MUCH_TWICE) sentences.push(`${words.share(duplicated)} of the work was done twice.`);
  if (known(waiting) && waiting >= MUCH_WAITING) {
    sentences.push(`Volunteers wait ${words.share(waiting)} of their time: longer rounds would use them better.`);
  }
  return sentences.join(" ");
}
