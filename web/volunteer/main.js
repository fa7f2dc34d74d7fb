// The volunteer page: joins what the coordinator says, what this tab's hub says and what the
// visitor does, and shows it. It computes nothing itself.

import { hasRelaxedSimd, obstacle } from "./capabilities.js";
import * as chart from "./chart.js";
import * as coordinator from "./coordinator.js";
import { Lending } from "./lending.js";
import { drawSchool } from "./school.js";
import * as wakeLock from "./wake-lock.js";
import * as words from "./words.js";

/** Screen readers hear about a change of state at most this often. */
const ANNOUNCE_MS = 4000;
/** The protocol's limit on the cores of one volunteer. */
const CORES_MAX = 256;

const HOST = location.host;
const at = (id) => document.getElementById(id);
const show = (id, text) => {
  // Writing the same text again would disturb selections and screen readers.
  if (at(id).textContent !== text) at(id).textContent = text;
};

/** The last answer of /api/status, and since when there has been none. */
let run = null;
let silentSince = null;

/** The last report of this tab's hub, and what ended the last lending, if anything did. */
let hub = null;
let ending = null;
/** The visitor has pressed Start, and the coordinator has not yet said which worker to load. */
let eager = false;
/** Which worker the hub runs. */
let arithmetic = null;

/** What earlier hubs of this tab have done, and the time lent in all, up to `since`. */
const earlier = { units: 0, examples: 0, seconds: 0 };
let since = null;
/** Examples computed by everyone when this tab began to lend. */
let computedBefore = null;

const lending = new Lending((report) => {
  if (report.type === "failed") {
    end({ tone: "problem", text: failure(report.text) });
  } else if (report.phase === "finished" || report.phase === "stopped") {
    hub = report;
    end({ tone: report.phase === "finished" ? "idle" : "problem", text: report.sentence });
  } else {
    hub = report;
  }
  render();
});

function begin() {
  ending = null;
  eager = true;
  if (at("awake").checked && wakeLock.offered) wakeLock.keepAwake(true);
  launch();
  render();
}

/** Starts the hub as soon as it is known which worker this run needs. */
function launch() {
  if (!eager || run === null) return;
  eager = false;
  const reason = obstacle(run.arithmetic);
  if (reason !== null) {
    end({ tone: "problem", text: reason });
    return;
  }
  arithmetic = run.arithmetic;
  since = performance.now();
  computedBefore ??= computed();
  lending.start(arithmetic, cores(), hasRelaxedSimd());
}

/** Ends lending for whatever reason; `how` is shown until the next start. */
function end(how) {
  eager = false;
  lending.stop();
  wakeLock.keepAwake(false);
  if (since !== null) earlier.seconds += (performance.now() - since) / 1000;
  since = null;
  earlier.units += hub?.units_done ?? 0;
  earlier.examples += hub?.examples_done ?? 0;
  hub = null;
  ending = how;
}

function failure(detail) {
  const because = detail === "" ? "" : ` (${detail})`;
  return `The worker could not run in this browser${because}. Reload the page; if it happens again, use a current Chrome, Edge, Firefox or Safari.`;
}

const cores = () => Number(at("cores").value);
const busy = () => eager || lending.active;
const computed = () => (run === null ? null : run.epochs * run.examples);

// ------------------------------------------------------------------------------------------------
// What is shown

function render() {
  renderLending();
  renderRun();
  renderMine();
}

function renderLending() {
  const state = lendingState();
  at("status").dataset.tone = state.tone;
  show("status", state.text);
  announce(state.text);
  const impossible = run !== null && obstacle(run.arithmetic) !== null;
  swapFocusable(at("start"), busy() || impossible, at("stop"), !busy());
  show("cores-text", `${words.count(cores())} of ${words.count(Number(at("cores").max))}`);
}

/** Disables and enables the two buttons without taking the keyboard's focus out of the pair. */
function swapFocusable(start, startDisabled, stop, stopDisabled) {
  const focused = document.activeElement;
  start.disabled = startDisabled;
  stop.disabled = stopDisabled;
  if (focused === start && startDisabled && !stopDisabled) stop.focus();
  if (focused === stop && stopDisabled && !startDisabled) start.focus();
}

/** What this tab is doing and why, in one sentence or two. */
function lendingState() {
  const gone = silentSince === null ? "" : `${HOST} does not answer (since ${words.clock(silentSince)}). `;
  if (lending.active) {
    if (hub === null) return { tone: "waiting", text: "Loading the worker…" };
    switch (hub.phase) {
      case "computing":
        return { tone: "busy", text: hub.sentence };
      case "waiting":
        return { tone: "waiting", text: `${gone}${hub.sentence}` };
      case "connecting":
        return { tone: gone === "" ? "waiting" : "problem", text: `${gone}${hub.sentence}` };
      default:
        return { tone: "waiting", text: hub.sentence };
    }
  }
  if (eager) {
    return gone === ""
      ? { tone: "waiting", text: "Asking the coordinator what to load…" }
      : { tone: "problem", text: `${gone}Lending begins as soon as it does.` };
  }
  const reason = obstacle(run?.arithmetic ?? "portable");
  if (reason !== null) return { tone: "problem", text: reason };
  if (ending !== null) return ending;
  return { tone: "idle", text: "This tab is not lending anything." };
}

function renderRun() {
  const phase = at("phase");
  if (silentSince !== null) {
    phase.dataset.tone = "problem";
    const known = run === null ? "" : " What is shown below is the last that was heard.";
    show("phase", `The coordinator at ${HOST} does not answer (since ${words.clock(silentSince)}). It may have ended, or the connection `
      + `is down. This page keeps asking.${known}`);
  } else if (run !== null) {
    delete phase.dataset.tone;
    show("phase", run.sentence);
  }
  if (run === null) return;
  show("title", run.title);
  at("title-part").hidden = false;
  show("network", `${run.network}, ${words.plural(run.parameters, "parameter", "parameters")}, `
    + `${words.plural(run.examples, "training example", "training examples")}`);
  show("iteration", words.count(run.iteration));
  show("iteration-note", `of at most ${words.count(run.iterations_max)}`);
  show("loss", run.train_loss === null ? "–" : words.loss(run.train_loss));
  show("accuracy", run.test_accuracy === null ? "–" : words.share(run.test_accuracy));
  show("volunteers", words.count(run.volunteers));
  const lent = words.plural(run.cores, "core", "cores");
  show("volunteers-note", run.local_worker ? `${lent}, and the coordinator's own` : lent);
  drawSchool(at("school"), run.volunteers, lending.active && hub !== null && hub.phase !== "connecting");
  chart.draw(at("chart"), at("chart-caption"), run.history);
}

function renderMine() {
  const units = earlier.units + (hub?.units_done ?? 0);
  const examples = earlier.examples + (hub?.examples_done ?? 0);
  const seconds = earlier.seconds + (since === null ? 0 : (performance.now() - since) / 1000);
  show("units", words.count(units));
  show("examples", words.count(examples));
  show("rate", seconds > 1 && examples > 0 ? `${words.count(examples / seconds)} a second` : "each counted whenever it is used");
  show("time", words.duration(seconds));
  show("time-note", lending.active ? `on ${words.plural(cores(), "core", "cores")}` : "");
  const everyone = computedBefore === null ? 0 : computed() - computedBefore;
  show("share", everyone > 0 && examples > 0 ? words.share(Math.min(1, examples / everyone)) : "–");
}

let announced = "";
let announceTimer = 0;

/** Tells screen readers of a new state, but not of every flicker between two. */
function announce(text) {
  if (text === announced || announceTimer !== 0) return;
  const first = announced === "";
  announced = text;
  if (!first) at("announcer").textContent = text;
  announceTimer = setTimeout(() => {
    announceTimer = 0;
    announce(at("status").textContent);
  }, ANNOUNCE_MS);
}

// ------------------------------------------------------------------------------------------------
// What happens

for (const element of document.querySelectorAll("[data-host]")) element.textContent = HOST;

const slider = at("cores");
const available = Math.min(Math.max(navigator.hardwareConcurrency || 1, 1), CORES_MAX);
slider.max = String(available);
slider.value = String(Math.max(1, available - 1));
slider.addEventListener("input", render);
slider.addEventListener("change", () => lending.setCores(cores()));

at("start").addEventListener("click", begin);
at("stop").addEventListener("click", () => {
  end({ tone: "idle", text: "Stopped. This tab is not lending anything. Thank you for what it did." });
  render();
});

at("awake-field").hidden = !wakeLock.offered;
at("awake").addEventListener("change", () => wakeLock.keepAwake(busy() && at("awake").checked));

coordinator.watch(
  (status) => {
    run = status;
    silentSince = null;
    // Another run has begun here, with the other arithmetic: it needs the other worker.
    if (lending.active && arithmetic !== run.arithmetic) {
      end(null);
      eager = true;
    }
    launch();
    render();
  },
  (when) => {
    silentSince = when;
    render();
  },
);
render();
drawSchool(at("school"), 0, false);
