// The head of the page: where the training stands, and the buttons that change its course.

import * as words from "../words.js";
import { confirmed } from "./confirm.js";
import { act } from "./coordinator.js";
import { at, show } from "./dom.js";

let ask = () => {};
let last = null;

/** Shows where the training stands. `askNow` fetches the next answer. */
export function showNow(answer, askNow) {
  ask = askNow;
  last = answer;
  const { status, operator } = answer;
  show("headline", capital(status.title));
  show("phase", status.sentence);
  document.title = `${phase(answer)} – Shoal`;
  at("progress").value = share(status);
  show("progress-text", progress(answer));
  show("network", `${capital(status.network)}, ${words.plural(status.parameters, "parameter", "parameters")}, `
    + `${words.plural(status.examples, "training example", "training examples")}`);
  const isOver = status.phase === "finished" || status.sentence.startsWith("The training has ended");
  show("pause", operator.paused ? "Continue" : "Pause");
  show("stop", operator.stopping ? "Stopping after this round" : "Stop after this round");
  at("pause").disabled = isOver;
  at("stop").disabled = isOver || operator.stopping;
  at("save").disabled = isOver;
  show("checkpoint", checkpoint(operator.checkpoint));
  at("unsaved").hidden = !answer.unsaved_model;
}

function phase({ status, operator }) {
  if (status.phase === "finished") return "Finished";
  if (operator.paused) return "Paused";
  return status.phase === "waiting" ? "Waiting" : `Iteration ${words.count(status.iteration)}`;
}

/** What the bar shows, and of which run. */
let shown = { run: null, share: 0 };

/** The share of the training that is done, by the limit that ends it first. */
function share({ run, phase, iteration, iterations_max: max, seconds, eta_seconds: left }) {
  if (phase === "finished") return 1;
  const byTime = left === null || seconds + left <= 0 ? 0 : seconds / (seconds + left);
  // While nobody computes no end is foretold, and what is done stays so.
  const before = left === null && shown.run === run ? shown.share : 0;
  shown = { run, share: Math.max(byTime, iteration / Math.max(max, 1), before) };
  return shown.share;
}

function progress({ status, operator }) {
  const parts = [`Iteration ${words.count(status.iteration)} of at most ${words.count(status.iterations_max)}`];
  if (status.round_units !== null && status.phase === "training") {
    const [done, all] = status.round_units;
    parts.push(`${words.count(done)} of ${words.count(all)} pieces of this round`);
  }
  if (status.eta_seconds !== null && status.phase === "training" && !operator.paused) {
    parts.push(`about ${words.roughly(status.eta_seconds)} left`);
  }
  parts.push(`${words.duration(status.seconds)} of training`);
  return `${parts.join(" · ")}.`;
}

function checkpoint(saved) {
  if (saved === null) return "No checkpoint has been written yet.";
  const when = saved.seconds < 2 ? "just now" : `${words.duration(saved.seconds)} ago`;
  return saved.written
    ? `Last checkpoint: iteration ${words.count(saved.iteration)}, ${when}.`
    : `A checkpoint of iteration ${words.count(saved.iteration)} is being written.`;
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** Has an action done, says what came of it, and shows what is different. */
export async function carryOut(action, body) {
  const sentence = await act(action, body);
  show("outcome", sentence);
  ask();
}

at("pause").addEventListener("click", () => carryOut(last?.operator.paused ? "continue" : "pause"));
at("save").addEventListener("click", () => carryOut("save"));
at("stop").addEventListener("click", async () => {
  const inRound = last?.status.round_units !== null;
  const wanted = await confirmed({
    title: inRound ? "End the training after this round?" : "End the training now?",
    text: "Nothing is lost: the model is saved as it is then, and \u201cshoal resume\u201d continues from there. Every "
      + "volunteer is told that the training has ended.",
    yes: "End it",
  });
  if (wanted) carryOut("stop");
});
