// Puts the state of the run and of this tab into the page, in plain words.

import { announce } from "./announcer.js";
import * as chart from "./chart.js";
import { drawSchool } from "./school.js";
import * as words from "./words.js";

/** A busy tab is idle for a moment between two jobs. The page shows only longer pauses. */
const IDLE_MS = 1500;
const HOST = location.host;

export const at = (id) => document.getElementById(id);

function show(id, text) {
  // Writing an unchanged text would disturb selections and screen readers.
  if (at(id).textContent !== text) at(id).textContent = text;
}

/** Fills in the parts of the page that never change. */
export function showHost() {
  for (const element of document.querySelectorAll("[data-host]")) element.textContent = HOST;
  drawSchool(at("school"), 0, false);
}

/** Shows the controls, and what this tab is doing and why. */
export function showLending(tab) {
  const { tone, text } = describe(tab);
  at("status").dataset.tone = tone;
  show("status", text);
  announce(at("announcer"), text);
  const lent = `${at("cores").value} of ${at("cores").max}`;
  show("cores-text", lent);
  at("cores").setAttribute("aria-valuetext", lent);
  const limit = tab.wanted ? (tab.hub?.limit ?? null) : null;
  at("cores-limit").hidden = limit === null;
  if (limit !== null) show("cores-limit", `Lending ${limit}`);
  swap(at("start"), tab.wanted || tab.obstacle !== null, at("stop"), !tab.wanted);
}

/** Disables and enables two buttons without losing keyboard focus. */
function swap(start, startDisabled, stop, stopDisabled) {
  const focused = document.activeElement;
  start.disabled = startDisabled;
  stop.disabled = stopDisabled;
  if (focused === start && startDisabled && !stopDisabled) stop.focus();
  if (focused === stop && stopDisabled && !startDisabled) start.focus();
}

function describe({ wanted, hub, computedAt, ending, obstacle, silentSince, started }) {
  if (obstacle !== null) return { tone: "problem", text: obstacle };
  if (!wanted) return ending ?? { tone: "idle", text: "This tab is not lending anything." };
  const gone = silentSince === null ? null : `${HOST} has not answered since ${words.clock(silentSince)}.`;
  if (!started) {
    return gone === null
      ? { tone: "waiting", text: "Asking the coordinator which worker to load…" }
      : { tone: "problem", text: `${gone} Lending begins when it answers.` };
  }
  if (hub === null) return { tone: "waiting", text: "Loading the worker…" };
  if (hub.phase === "connecting") {
    return gone === null ? { tone: "waiting", text: hub.sentence } : { tone: "problem", text: `${gone} This tab keeps trying until you press Stop.` };
  }
  const pausing = hub.phase === "waiting" && performance.now() - computedAt < IDLE_MS;
  if (hub.phase === "computing" || pausing) {
    return { tone: "busy", text: `Computing on ${words.plural(hub.cores, "core", "cores")}.` };
  }
  return { tone: "waiting", text: hub.sentence };
}

/** Shows the state of the training; `mine` says whether this tab is one of the volunteers. */
export function showRun(run, silentSince, mine) {
  if (silentSince === null) {
    delete at("phase").dataset.tone;
  } else {
    at("phase").dataset.tone = "problem";
    const known = run === null ? "" : " The figures below are the last ones received.";
    show("phase", `The coordinator at ${HOST} has not answered since ${words.clock(silentSince)}. It may have ended, or the `
      + `connection may be down. This page keeps asking.${known}`);
  }
  if (run === null) return;
  if (silentSince === null) show("phase", run.sentence);
  show("title", run.title);
  show("network", `${run.network}, ${words.plural(run.parameters, "parameter", "parameters")}, `
    + `${words.plural(run.examples, "training example", "training examples")}`);
  show("iteration", words.count(run.iteration));
  show("iteration-note", `of at most ${words.count(run.iterations_max)}`);
  show("loss", run.train_loss === null ? "–" : words.loss(run.train_loss));
  showHeldBack("validation", "Validation", run.validation_accuracy, run.validation_loss);
  showHeldBack("test", "Test", run.test_accuracy, run.test_loss);
  show("volunteers", words.count(run.volunteers));
  const lent = words.plural(run.cores, "core", "cores");
  show("volunteers-note", run.local_worker ? `${lent}, and the coordinator's own worker` : lent);
  drawSchool(at("school"), run.volunteers, mine);
  chart.draw(at("chart"), at("chart-caption"), run.history);
}

/** Shows the accuracy or loss on held-back examples, if the run has any and has evaluated them. */
function showHeldBack(id, name, accuracy, loss) {
  at(id).hidden = accuracy === null && loss === null;
  // Predicted numbers are not right or wrong, so only classes have an accuracy.
  show(`${id}-name`, `${name} ${accuracy === null ? "loss" : "accuracy"}`);
  if (accuracy !== null) show(`${id}-value`, words.share(accuracy));
  else if (loss !== null) show(`${id}-value`, words.loss(loss));
}

/** Shows what this tab has contributed. */
export function showContribution(contribution, run, lentCores) {
  const { units, examples, seconds } = contribution;
  show("units", words.count(units));
  show("examples", words.count(examples));
  show("rate", seconds >= 1 && examples > 0 ? `${words.count(examples / seconds)} a second` : "counted each time one is used");
  show("time", words.duration(seconds));
  show("time-note", lentCores === null ? "" : `on ${words.plural(lentCores, "core", "cores")}`);
  const share = run === null ? null : contribution.share(run);
  show("share", share === null ? "–" : words.roughShare(share));
}
