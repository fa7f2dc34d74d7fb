// The volunteer page: combines the coordinator's answers, the hub's reports and the visitor's actions,
// and has the result shown. It computes nothing itself.

import { watchBattery } from "./battery.js";
import { hasRelaxedSimd, memoryBytes, obstacle } from "./capabilities.js";
import { choices, restore } from "./choices.js";
import { Contribution } from "./contribution.js";
import * as coordinator from "./coordinator.js";
import { Lending } from "./lending.js";
import { describe } from "./states.js";
import * as traffic from "./traffic.js";
import * as trial from "./trial.js";
import { at, showCosts, showMine, showPage, showRun, showState } from "./view.js";
import * as wakeLock from "./wake-lock.js";

/** The last answer of /api/status, the last course ({run, points}), and the time (Date) since which there has been no answer. */
let run = null;
let history = null;
let silentSince = null;

/** The visitor has pressed Start, and nothing has ended the lending since. */
let wanted = false;
/** The last lending ended with the training, not by the visitor's wish. */
let eager = false;
/** The data that the visitor has agreed to receive: the status's name for them. */
let agreed = null;
/** The visitor does not want the run of this number. */
let declined = null;
/** The arithmetic of the hub's worker; null until the coordinator has named it. */
let arithmetic = null;
/** The hub's last report, and the time of its last report that it computes. */
let hub = null;
let computedAt = -Infinity;
/** Downloads of the hub in a row that have broken off. */
let unreached = 0;
/** How the last lending ended: {state, sentence, action}. */
let ending = null;
/** What the training came to, as the coordinator told this tab's hub. */
let finals = null;
/** What the visitor has paused or allowed: {visitor, battery, traffic}. */
let paused = false;
let onBattery = false;
const allowed = { battery: false, traffic: 0 };
/** The page is hidden away or frozen by the browser. */
let away = false;

/** A tab that has computed within this time is still helping. */
const ROUNDS_APART_MS = 5000;
/** After that many broken downloads in a row, the visitor decides whether to try again. */
const UNREACHED_MAX = 5;

const contribution = new Contribution();
const lending = new Lending(heard, (bytes) => {
  traffic.download(bytes);
  showTab();
});

/** Another training than the one that the visitor agreed to help is at this address. */
const isOffer = () => agreed !== null && run !== null && run.data !== agreed && run.run !== declined && run.phase !== "finished"
  && (wanted || eager);

function pause() {
  const { up, down } = traffic.total();
  const { trafficBytes, pauseOnBattery } = choices();
  if (paused) return "visitor";
  if (onBattery && pauseOnBattery && !allowed.battery) return "battery";
  if (trafficBytes > 0 && up + down >= trafficBytes + allowed.traffic) return "traffic";
  return null;
}

function begin() {
  performance.mark("shoal:start");
  wanted = true;
  eager = false;
  paused = false;
  unreached = 0;
  ending = null;
  finals = null;
  agreed = run?.data ?? null;
  wakeLock.keepAwake(choices().keepAwake);
  launch();
}

/** Starts the hub as soon as the coordinator has said which worker the run needs. */
function launch() {
  if (!wanted || away || lending.active || run === null || run.phase === "finished") return;
  if (obstacle(run.arithmetic) !== null || isOffer()) return;
  agreed ??= run.data;
  arithmetic = run.arithmetic;
  lending.start(arithmetic, {
    cores: lentCores(),
    fused_capable: hasRelaxedSimd(),
    memory_bytes: memoryBytes(),
    effort: choices().effort,
    mirror: run.shard_url ?? "",
  });
}

const lentCores = () => (pause() === null ? choices().cores : 0);

/** The hub has ended, or is made to. */
function endHub(stop) {
  stop();
  traffic.hubEnded();
  traffic.rest();
  contribution.hubEnded();
  hub = null;
  arithmetic = null;
}

function end(how) {
  wanted = false;
  eager = how.state === "over";
  ending = how;
  endHub(() => lending.stop());
  wakeLock.keepAwake(false);
}

/** The hub reports. */
function heard(report) {
  if (report.type === "begun") {
    performance.mark("shoal:computing");
    performance.measure("shoal:start-to-computing", "shoal:start", "shoal:computing");
    return;
  }
  if (report.type === "failed" && report.unreached && ++unreached < UNREACHED_MAX) {
    // The next answer of the coordinator starts it again.
    endHub(() => lending.stop());
  } else if (report.type === "failed") {
    end(failure(report));
  } else {
    hub = report;
    unreached = 0;
    traffic.messages(report);
    contribution.report(report);
    if (report.phase === "computing") {
      computedAt = performance.now();
      if (report.units_done > 0) traffic.work();
    }
    if (report.phase === "finished") {
      finals = report.finals;
      end({ state: "over", sentence: report.sentence });
      askNow();
    } else if (report.phase === "stopped") {
      end({ state: "refused", sentence: report.sentence, action: { does: "reload", label: "Reload" } });
    } else if (report.phase === "changed") {
      // The next answer tells what is trained now, and whether to ask.
      endHub(() => lending.stop());
      run = null;
      askNow();
    }
  }
  adjust();
  showTab();
}

function failure({ hangs, unreached: isUnreached, text }) {
  const why = text ? ` (${text})` : "";
  if (hangs) {
    const sentence = "The worker is not arriving: nothing has come for 15 seconds.";
    return { state: "blocked", sentence, action: { does: "start", label: "Try again" } };
  }
  if (isUnreached) {
    const sentence = `The worker is not arriving: its download breaks off again and again${why}.`;
    return { state: "blocked", sentence, action: { does: "start", label: "Try again" } };
  }
  // A module that finds no memory ends in an `unreachable` instruction; other errors have words.
  const sentence = /memory|unreachable|RangeError/i.test(why)
    ? `This device has too little free memory for this training${why}; close other tabs and try again.`
    : `The worker cannot run in this browser${why}; a current Chrome, Edge, Firefox or Safari can.`;
  return { state: "blocked", sentence, action: { does: "start", label: "Try again" } };
}

/** Tells the hub how many cores are lent now. */
let told = null;
function adjust() {
  if (!lending.active) told = null;
  else if (hub !== null && told !== lentCores()) lending.setCores((told = lentCores()));
}

/** The training is over, and the coordinator leaves soon: fetches the network, so that it can be tried without it. */
async function takeTheModel() {
  const { up, down } = traffic.total();
  const { trafficBytes } = choices();
  const room = trafficBytes === 0 ? Infinity : trafficBytes + allowed.traffic - up - down;
  await trial.take(run, room);
  coordinator.satisfied();
  askNow();
  showAll();
}

const actions = {
  try: trial.show,
  reload: () => location.reload(),
  retry: () => {
    askNow();
    lending.retry();
  },
  start: begin,
  join: begin,
  decline: () => {
    declined = run.run;
    end({ state: "idle", sentence: "Nothing runs until you press Start." });
  },
  continue: () => {
    const { up, down } = traffic.total();
    if (pause() === "battery") allowed.battery = true;
    if (pause() === "traffic") allowed.traffic = up + down;
    paused = false;
    if (choices().cores === 0) at("cores").value = "1";
    adjust();
  },
};

function showTab() {
  const { trafficBytes } = choices();
  // A pause says nothing of what a minute of work takes.
  if (pause() !== null) traffic.rest();
  const reason = obstacle(run?.arithmetic ?? "portable");
  const shown = describe({
    wanted, hub, computedAt, run, silentSince, ending, finals, contribution, trafficBytes,
    pause: pause(), offer: isOffer(), obstacle: reason, canTry: trial.isReady(run),
  });
  showState(shown, { wanted, hub, over: run?.phase === "finished" });
  showMine(contribution, traffic.total(), hub?.cores ?? null);
  showCosts(run, wanted, traffic.perMinute());
}

function showAll() {
  showTab();
  const helping = hub !== null && hub.phase !== "connecting";
  const course = history?.run === run?.run ? history : null;
  showRun({ run, history: course, silentSince, mine: helping, stays: contribution.stays });
}

/** Leaves the training while the browser keeps the page asleep, so that nobody waits for it. */
function leave() {
  away = true;
  endHub(() => lending.vanish());
}

function comeBack() {
  if (!away) return;
  away = false;
  askNow();
  launch();
  showAll();
}

showPage();
restore((name) => {
  if (name === "cores" || name === "battery" || name === "traffic") adjust();
  if (name === "effort") lending.setEffort(choices().effort);
  if (name === "awake") wakeLock.keepAwake(wanted && choices().keepAwake);
  showTab();
});
at("cores").addEventListener("input", showTab);
at("awake-field").hidden = !wakeLock.offered;
at("awake-hint").hidden = isSecureContext || !matchMedia("(pointer: coarse)").matches;
watchBattery((now) => {
  onBattery = now;
  adjust();
  showTab();
}).then((tells) => {
  at("battery-field").hidden = !tells;
});
at("start").addEventListener("click", () => {
  begin();
  showAll();
});
at("pause").addEventListener("click", () => {
  paused = true;
  adjust();
  showAll();
});
at("stop").addEventListener("click", () => {
  end({ state: "idle", sentence: "Stopped: this tab lends nothing more. Thank you." });
  showAll();
});
for (const id of ["action", "refuse"]) {
  at(id).addEventListener("click", () => {
    actions[at(id).dataset.does]?.();
    showAll();
  });
}
addEventListener("pagehide", leave);
document.addEventListener("freeze", leave);
addEventListener("pageshow", comeBack);
document.addEventListener("resume", comeBack);

const askNow = coordinator.watch({
  onAnswer(status) {
    const wasSilent = silentSince !== null;
    if (run !== null && status.run !== run.run && !wanted) ending = null;
    contribution.follow(status.run);
    run = status;
    silentSince = null;
    // A busy tab waits for a moment between two rounds.
    const helps = hub !== null && pause() === null && performance.now() - computedAt < ROUNDS_APART_MS;
    contribution.at(run.seconds, helps);
    if (wasSilent) lending.retry();
    // The coordinator now trains with the other arithmetic, which needs the other worker, or something else.
    if (arithmetic !== null && (arithmetic !== run.arithmetic || isOffer())) endHub(() => lending.stop());
    if (run.phase !== "finished" && obstacle(run.arithmetic) === null && !away) lending.prepare(run.arithmetic);
    if (run.phase === "finished" && !trial.isAsked(run)) takeTheModel();
    launch();
    adjust();
    showAll();
  },
  onHistory(course) {
    history = course;
    showAll();
  },
  onSilence(since) {
    silentSince = since;
    showAll();
  },
});
showAll();
