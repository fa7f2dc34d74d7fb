// The trained network on the volunteer's page: fetched when the training is over, before the coordinator leaves.

/** Bytes of weights that are fetched unasked. */
const WEIGHTS_BYTES_MAX = 16e6;
const WEIGHT_BYTES = 4;

const at = (id) => document.getElementById(id);

/** The run whose network was asked for, and the network with its page. */
let asked = null;
let trial = null;

/** Whether `take` was called for that run. */
export const isAsked = ({ run }) => asked === run;

/** Whether the network of that run is here. */
export const isReady = (run) => trial !== null && run?.run === asked;

/** Fetches page and network, if they are at most `room` bytes; returns when they are here, or cannot be had. */
export async function take({ run, parameters }, room) {
  asked = run;
  trial = null;
  if (WEIGHT_BYTES * parameters > Math.min(WEIGHTS_BYTES_MAX, room)) return;
  try {
    const style = document.createElement("link");
    Object.assign(style, { rel: "stylesheet", href: "try/try.css" });
    document.head.append(style);
    const { load, Trial } = await import("../try/app.js");
    trial = new Trial(await load());
  } catch {
    // The coordinator was faster. There is nothing to try then.
  }
}

/** Shows the network. */
export function show() {
  trial.show(at("trial"), 2);
  at("trial").hidden = false;
  at("trial-heading").focus();
}
