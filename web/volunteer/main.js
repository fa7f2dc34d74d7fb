// The volunteer page: combines the coordinator's answers, the hub's reports and the visitor's actions,
// and has the result shown. It computes nothing itself.

import { hasRelaxedSimd, memoryBytes, obstacle } from "./capabilities.js";
import { Contribution } from "./contribution.js";
import * as coordinator from "./coordinator.js";
import { Lending } from "./lending.js";
import { at, showContribution, showHost, showLending, showRun } from "./view.js";
import * as wakeLock from "./wake-lock.js";

/** The protocol's limit on the cores of one volunteer. */
const CORES_MAX = 256;

/** The last answer of /api/status, and the time (Date) since which there has been none. */
let run = null;
let silentSince = null;

/** The visitor has pressed Start, and nothing has ended the lending since. */
let wanted = false;
/** The arithmetic of the hub's worker; null until the coordinator has named it. */
let arithmetic = null;
/** The hub's last report, and the time of its last report that it computes. */
let hub = null;
let computedAt = -Infinity;
/** Why the last lending ended: {tone, text}. */
let ending = null;

const contribution = new Contribution();
const lending = new Lending(heard);
const cores = () => Number(at("cores").value);

function begin() {
  performance.mark("shoal:start");
  wanted = true;
  ending = null;
  wakeLock.keepAwake(at("awake").checked);
  launch();
}

/** Starts the hub as soon as the coordinator has said which worker the run needs. */
function launch() {
  if (!wanted || lending.active || run === null || obstacle(run.arithmetic) !== null) return;
  arithmetic = run.arithmetic;
  contribution.begin();
  lending.start(arithmetic, { cores: cores(), fused_capable: hasRelaxedSimd(), memory_bytes: memoryBytes() });
}

function end(how) {
  wanted = false;
  ending = how;
  hub = null;
  arithmetic = null;
  lending.stop();
  contribution.end();
  wakeLock.keepAwake(false);
}

/** The hub reports. */
function heard(report) {
  if (report.type === "begun") {
    performance.mark("shoal:computing");
    performance.measure("shoal:start-to-computing", "shoal:start", "shoal:computing");
    return;
  }
  if (report.type === "failed") {
    const why = report.text ? ` (${report.text})` : "";
    // A module that finds no memory ends in an `unreachable` instruction; other errors have words.
    const text = /memory|unreachable|RangeError/i.test(why)
      ? `This device has too little free memory for this training${why}, so this tab has stopped. Close other tabs and press Start again.`
      : `The worker could not run in this browser${why}. Reload the page to try again. If that does not help, use a current `
        + "Chrome, Edge, Firefox or Safari.";
    end({ tone: "problem", text });
  } else {
    hub = report;
    contribution.report(report);
    if (report.phase === "computing") computedAt = performance.now();
    if (report.phase === "finished") end({ tone: "idle", text: `${report.sentence} Thank you for helping.` });
    if (report.phase === "stopped") end({ tone: "problem", text: report.sentence });
  }
  showTab();
}

function showTab() {
  const reason = obstacle(run?.arithmetic ?? "portable");
  showLending({ wanted, started: arithmetic !== null, hub, computedAt, ending, obstacle: reason, silentSince });
  showContribution(contribution, run, hub?.cores ?? null);
}

function showAll() {
  showTab();
  showRun(run, silentSince, hub !== null && hub.phase !== "connecting");
}

showHost();
const available = Math.min(Math.max(navigator.hardwareConcurrency || 1, 1), CORES_MAX);
at("cores").max = String(available);
at("cores").value = String(Math.max(1, available - 1));
at("cores").addEventListener("input", showTab);
at("cores").addEventListener("change", () => lending.setCores(cores()));
at("awake-field").hidden = !wakeLock.offered;
at("awake").addEventListener("change", () => wakeLock.keepAwake(wanted && at("awake").checked));
at("start").addEventListener("click", () => {
  begin();
  showAll();
});
at("stop").addEventListener("click", () => {
  end({ tone: "idle", text: "Stopped. This tab is not lending anything. Thank you for your help." });
  showAll();
});
coordinator.watch(
  (status) => {
    run = status;
    silentSince = null;
    // The coordinator now trains with the other arithmetic and needs the other worker.
    if (wanted && arithmetic !== null && arithmetic !== run.arithmetic) {
      end(null);
      begin();
    }
    if (obstacle(run.arithmetic) === null) lending.prepare(run.arithmetic);
    launch();
    showAll();
  },
  (since) => {
    silentSince = since;
    showAll();
  },
);
showAll();
