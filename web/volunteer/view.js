// Puts the state of the run and of this tab into the page, in plain words.

import * as words from "../words.js";
import { announce } from "./announcer.js";
import { choices } from "./choices.js";
import * as curves from "./curves.js";
import { drawSchool } from "./school.js";
import { NAMES } from "./states.js";

const TITLE = "Shoal";
const BUSY = new Set(["computing", "sending", "downloading"]);

export const at = (id) => document.getElementById(id);

function show(id, text) {
  // Writing an unchanged text would disturb selections and screen readers.
  if (at(id).textContent !== text) at(id).textContent = text;
}

/** The scripts have arrived: the controls replace the sentence that says what to do without them. */
export function showPage() {
  at("no-script").remove();
  at("controls").hidden = false;
  drawSchool(at("school"), 0, false);
}

/** Shows the tab's state (from `describe`) and the buttons that suit it. */
export function showState({ state, sentence, action, refuse }, { wanted, hub, over }) {
  for (const id of ["status", "lend"]) at(id).dataset.state = state;
  show("lend-heading", state === "over" ? "The training is over" : "Lend this device");
  show("sentence", sentence);
  announce(at("announcer"), sentence);
  document.title = state === "idle" ? `${TITLE} – lend this device to a neural network` : `${NAMES[state]} – ${TITLE}`;
  const icon = BUSY.has(state) ? "logo-busy.svg" : "logo.svg";
  if (at("icon").getAttribute("href") !== icon) at("icon").setAttribute("href", icon);
  const focused = document.activeElement;
  offer("action", action);
  offer("refuse", refuse);
  at("start").disabled = wanted || over || state === "blocked" || state === "changed";
  at("start").hidden = wanted;
  at("stop").disabled = !wanted;
  at("pause").hidden = !wanted || state === "paused" || state === "changed";
  // When it is over there is nothing to lend, nor to choose. The offer of another training has its own answers.
  for (const id of ["costs", "choices"]) at(id).hidden = state === "over";
  at("actions").hidden = state === "over" || state === "changed";
  keepFocus(focused);
  const limit = wanted ? (hub?.limit ?? null) : null;
  at("cores-limit").hidden = limit === null;
  if (limit !== null) show("cores-limit", `Lending ${limit}`);
}

function offer(id, action) {
  at(id).hidden = action === undefined;
  if (action === undefined) return;
  at(id).dataset.does = action.does;
  show(id, action.label);
}

/** The keyboard goes on where it was: a button that had the focus and cannot be pressed any more hands it to another. */
function keepFocus(focused) {
  const canBePressed = (button) => !button.disabled && button.checkVisibility();
  if (!focused?.matches("#status button, #actions button") || canBePressed(focused)) return;
  ["action", "start", "stop"].map(at).find(canBePressed)?.focus();
}

/** What lending costs this device, before and while it lends. */
export function showCosts(run, wanted, measured) {
  const { cores } = choices();
  const max = Number(at("cores").max);
  const lent = `${cores} of ${max}`;
  show("cores-text", lent);
  at("cores").setAttribute("aria-valuetext", lent);
  show("cost-cores", `${wanted ? "Uses" : "Would use"} ${lent} ${max === 1 ? "core" : "cores"}`);
  if (run === null) return;
  show("cost-data", `Data: ${amount("up to", run.data_bytes)} at first, then ${pace(run, measured)}`);
  show("cost-time", run.eta_seconds === null || run.phase !== "training"
    ? "Ends with the training, or when you stop"
    : `Ends in about ${words.roughly(run.eta_seconds)}, or when you stop`);
}

/** What a tab sends and receives: as measured in this tab, or else by the size of the network. */
function pace({ round_seconds: seconds, round_bytes: bytes }, measured) {
  if (measured !== null) return `${amount("about", measured)} a minute`;
  if (seconds === null) return `${amount("about", bytes)} a round`;
  return `${amount("about", (60 / Math.max(seconds, 1e-3)) * bytes)} a minute`;
}

/** "about 61 MB". What would be rounded to nothing is still something. */
const amount = (word, bytes) => (bytes < 50_000 ? "under 0.1\u00a0MB" : `${word} ${words.megabytes(bytes)}`);

/** Shows what this tab has contributed. */
export function showMine(contribution, { up, down }, lentCores) {
  const { examples, seconds, share, late } = contribution;
  show("examples", words.large(examples));
  show("late", late === 0 ? "as the coordinator counts them"
    : `${words.plural(late, "piece was", "pieces were")} done by someone else first`);
  show("share", share === null ? "–" : words.share(share));
  show("time", words.duration(seconds));
  show("time-note", lentCores ? `on ${words.plural(lentCores, "core", "cores")}, without waiting` : "without waiting");
  show("down", words.megabytes(down));
  show("up", `down, ${words.megabytes(up)} up`);
}

/** Shows the state of the training; `mine` says whether this tab is one of the volunteers. */
export function showRun({ run, history, silentSince, mine, stays }) {
  const { host } = location;
  if (silentSince !== null && run?.phase !== "finished") {
    const known = run === null ? "" : " The figures below are the last ones received.";
    at("phase").dataset.tone = "problem";
    show("phase", `The coordinator at ${host} has not answered since ${words.clock(silentSince)}.${known}`);
  } else if (run !== null) {
    delete at("phase").dataset.tone;
    show("phase", run.sentence);
  }
  if (run === null) return;
  show("headline", run.purpose ?? `Help train ${run.title}`);
  show("operator", run.operator ? `Run by ${run.operator} (${host}).` : `Run by whoever operates ${host}.`);
  showMirror(run.shard_url ?? null);
  show("network", `${run.network}, ${words.plural(run.parameters, "parameter", "parameters")}, `
    + `${words.plural(run.examples, "training example", "training examples")}`);
  show("iteration", words.count(run.iteration));
  show("iteration-note", `of at most ${words.count(run.iterations_max)}`);
  showHeldBack("validation", "Validation", run.validation_accuracy, run.validation_loss);
  showHeldBack("test", "Test", run.test_accuracy, run.test_loss);
  show("volunteers", words.count(run.volunteers));
  const lent = words.plural(run.cores, "core", "cores");
  show("volunteers-note", run.local_worker ? `${lent}, and the coordinator itself` : lent);
  drawSchool(at("school"), run.volunteers, mine);
  const drawn = curves.draw(history, stays);
  showFirstRound(run, drawn);
}

/** Names the other address that this tab may download the training data from, for it sees who asks. */
function showMirror(url) {
  at("mirror").hidden = url === null;
  if (url === null) return;
  show("mirror-text", `Your browser asks ${new URL(url).host} for the training data first, and this page's own address for `
    + "what it does not get there. Whoever runs that host sees your network address and which parts of the data you take.");
}

function showFirstRound({ phase, iteration, round_units: units }, drawn) {
  // Two accepted points make a curve. When the page has just been opened, theirs is still on its way.
  at("first-round").hidden = drawn || phase !== "training" || units === null || iteration > 1;
  if (units === null) return;
  const [done, all] = units;
  at("round").max = Math.max(all, 1);
  at("round").value = done;
  show("round-text", `${words.count(done)} of ${words.count(all)} pieces of this round`);
}

/** Shows the accuracy or loss on held-back examples, if the run has any and has evaluated them. */
function showHeldBack(id, name, accuracy, loss) {
  at(id).hidden = accuracy === null && loss === null;
  // Predicted numbers are not right or wrong, so only classes have an accuracy.
  show(`${id}-name`, `${name} ${accuracy === null ? "loss" : "accuracy"}`);
  if (accuracy !== null) show(`${id}-value`, words.share(accuracy));
  else if (loss !== null) show(`${id}-value`, words.loss(loss));
}
