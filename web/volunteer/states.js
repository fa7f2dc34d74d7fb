// The states of the tab: for every situation one state, one sentence and at most one thing to do about it.

import * as words from "../words.js";

/** A busy tab is idle for a moment between two jobs. The page shows only longer pauses. */
const IDLE_MS = 1500;
/** A coordinator that has not answered for this long is missing. One lost answer says nothing. */
const SILENT_MS = 3000;

export const NAMES = {
  idle: "Not lending",
  loading: "Loading",
  downloading: "Downloading",
  computing: "Computing",
  sending: "Sending",
  waiting: "Waiting",
  paused: "Paused",
  reconnecting: "Reconnecting",
  refused: "Turned away",
  blocked: "Cannot help",
  changed: "Another training",
  over: "Finished",
};

/**
 * The state of the tab, {state, sentence, action, refuse}; `action` and `refuse` are {does, label} or absent.
 *
 * `tab`: `wanted` (Start was pressed), `hub` (its last report) and `computedAt` (when it last computed), `run` (the
 * last status) and `silentSince` (Date or null), `pause` (why nothing is lent: "visitor", "battery", "traffic" or
 * null), `offer` (another training waits for consent), `ending` ({state, sentence, action} of the last lending, or
 * null), `obstacle` (why this browser cannot help, or null), `contribution`, `trafficBytes` (the limit),
 * `canTry` (the trained network is here).
 */
export function describe(tab) {
  const { wanted, hub, run, silentSince, pause, offer, ending, obstacle } = tab;
  if (obstacle !== null) {
    return { state: "blocked", sentence: obstacle, action: { does: "reload", label: "Reload" } };
  }
  if (offer) {
    const what = run.purpose ?? run.title;
    return {
      state: "changed",
      sentence: `A different training has begun here: ${what}. Its data would come to you.`,
      action: { does: "join", label: "Join" },
      refuse: { does: "decline", label: "No thanks" },
    };
  }
  // The coordinator may be gone before it is asked again.
  if (run?.phase === "finished" || (!wanted && ending?.state === "over" && run !== null)) return over(tab);
  if (!wanted) return ending ?? { state: "idle", sentence: "Nothing runs until you press Start." };
  const missing = silentSince !== null && Date.now() - silentSince >= SILENT_MS;
  if (missing && (hub === null || hub.phase !== "computing")) {
    return {
      state: "reconnecting",
      sentence: `The coordinator has not answered since ${words.clock(silentSince)}; this tab keeps trying.`,
      action: { does: "retry", label: "Try now" },
    };
  }
  if (hub === null) return { state: "loading", sentence: run === null ? "Contacting the coordinator…" : "Loading the worker…" };
  if (pause !== null) return paused(tab);
  return working(tab);
}

function paused({ pause, trafficBytes }) {
  const sentences = {
    visitor: "Paused: this tab computes nothing until you continue.",
    battery: "Paused: this device runs on battery.",
    traffic: `Paused: this tab has moved ${words.megabytes(trafficBytes)}, the limit you chose.`,
  };
  const label = pause === "visitor" ? "Continue" : "Continue anyway";
  return { state: "paused", sentence: sentences[pause], action: { does: "continue", label } };
}

function working({ hub, computedAt }) {
  const pausing = hub.phase === "waiting" && performance.now() - computedAt < IDLE_MS;
  if (hub.phase === "computing" || pausing) {
    return { state: "computing", sentence: `Computing on ${words.plural(hub.cores, "core", "cores")}.` };
  }
  if (hub.phase === "connecting") return { state: "reconnecting", sentence: hub.sentence };
  if (hub.phase === "downloading") return { state: "downloading", sentence: hub.sentence };
  if (hub.phase === "waiting" && hub.unsent_bytes > 0) {
    return {
      state: "sending",
      sentence: `Sending results, ${words.megabytes(hub.unsent_bytes)} to go: your upload is the bottleneck.`,
    };
  }
  if (hub.phase === "paused") {
    return { state: "paused", sentence: hub.sentence, action: { does: "continue", label: "Continue" } };
  }
  return { state: "waiting", sentence: "Waiting for the next piece of work." };
}

function over({ run, ending, contribution, finals, canTry }) {
  const end = run.phase === "finished" ? run.sentence : ending.sentence;
  const accuracy = finals?.accuracy ?? run.test_accuracy ?? run.validation_accuracy;
  const loss = finals?.loss ?? run.test_loss ?? run.validation_loss;
  // Examples that decided which weights to keep are not new.
  const aside = Number.isFinite(run.test_loss) ? "new examples" : "the examples kept aside";
  let result = "";
  if (Number.isFinite(accuracy)) result = ` The network gets ${words.share(accuracy)} of ${aside} right.`;
  else if (Number.isFinite(loss)) result = ` The network's loss on ${aside} is ${words.loss(loss)}.`;
  const { examples, ofAll } = contribution;
  const thanks = examples > 0
    ? ` You did ${words.count(examples)} of ${words.count(ofAll)} examples. Thank you.`
    : "";
  const action = canTry ? { does: "try", label: "Try it" } : undefined;
  return { state: "over", sentence: `${end}${result}${thanks}`, action };
}
