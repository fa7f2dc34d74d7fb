// The operator's dashboard: asks the coordinator once a second, and puts the answers into the parts of the page.

import * as words from "../words.js";
import { watch } from "./coordinator.js";
import { at, show } from "./dom.js";
import { showInvitation } from "./invite.js";
import { showLearning } from "./learning.js";
import { showLog } from "./log.js";
import { showMistakes } from "./mistakes.js";
import { showData, showSystem } from "./machine.js";
import { showNow } from "./now.js";
import { showGateways } from "./gateways.js";
import { showVolunteers } from "./volunteers.js";
import { showWorth } from "./worth.js";

/** Figures that are older are greyed. */
const STALE_SECONDS = 5;

const known = { answer: null, history: null, silentSince: null, received: 0, refused: null };

at("no-script").remove();

const ask = watch({
  onAnswer(answer) {
    if (known.answer !== null && known.answer.status.run !== answer.status.run) known.history = null;
    if (answer.history !== null) known.history = answer.history;
    Object.assign(known, { answer, silentSince: null, received: performance.now() });
    draw();
  },
  onSilence(since) {
    known.silentSince = since;
    showAge();
  },
  onRefused(sentence) {
    known.refused = sentence;
    showAge();
  },
});

function draw() {
  const { answer, history } = known;
  showNow(answer, ask);
  showWorth(answer);
  showLearning(answer, history ?? []);
  showMistakes(answer.mistakes);
  showVolunteers(answer, ask);
  showGateways(answer);
  showData(answer.operator);
  showSystem(answer.system);
  showInvitation(answer);
  showLog(answer.operator.log);
  showAge();
}

/** Greys and dates figures that are old. */
function showAge() {
  const { answer, received, refused, silentSince } = known;
  const seconds = answer === null ? 0 : (performance.now() - received) / 1000 + (answer.age_seconds ?? 0);
  const isOver = answer?.status.phase === "finished";
  const isStale = refused !== null || (silentSince !== null && answer === null) || (seconds > STALE_SECONDS && !isOver);
  document.body.dataset.stale = String(isStale);
  at("stale").hidden = !isStale && !(isOver && silentSince !== null);
  if (refused !== null) {
    show("stale", refused);
  } else if (isOver && silentSince !== null) {
    show("stale", "The training is over, and the coordinator has ended. These are its last figures.");
  } else if (isStale) {
    const date = new Date(Date.now() - 1000 * seconds);
    const since = answer === null ? "" : ` These figures are of ${words.clockSeconds(date)}.`;
    show("stale", silentSince === null
      ? `The coordinator is busy with a long step.${since}`
      : `The coordinator has not answered since ${words.clockSeconds(silentSince)}.${since}`);
  }
}

setInterval(showAge, 1000);
// A new link in the same tab brings another token.
addEventListener("hashchange", () => {
  if (location.hash.includes("operator=")) location.reload();
});
if (location.hash.includes("operator=")) history.replaceState(null, "", location.pathname);
