// Asks the coordinator for the state of the run while the page is open, and for its course when that has changed.

const VISIBLE_MS = 1000;
const HIDDEN_MS = 2000;
/** While nobody answers, the page asks less and less often, up to this. */
const SILENT_MS_MAX = 3000;
/** A finished run does not change. Another may begin at the same address. */
const FINISHED_MS = 3000;
const PATIENCE_MS = 5000;
/** The course is asked for at most this often. */
const HISTORY_MS = 2000;

/** Names this page to the coordinator, which waits at its end until every open page has what it needs. */
const PAGE = Math.floor(Math.random() * Number.MAX_SAFE_INTEGER);
/** Said until the page needs nothing more once the training is over. */
let needs = "&more";

/** The page has all that it needs: the coordinator need not wait for it. */
export function satisfied() {
  needs = "";
}

/**
 * Calls `onAnswer(status)` after every answer, `onHistory(history)` when the course has changed, and
 * `onSilence(since)` after every failure, where `since` is the time (Date) of the first failure in a row. Returns a
 * function that asks at once.
 */
export function watch({ onAnswer, onHistory, onSilence }) {
  let silentSince = null;
  let silences = 0;
  let timer = 0;
  let asking = false;
  let courseKnown = "";
  let courseAsked = -Infinity;

  async function ask() {
    clearTimeout(timer);
    if (asking) return;
    asking = true;
    let status = null;
    try {
      status = await fetchJson(`api/status?page=${PAGE}${needs}`);
      silentSince = null;
      silences = 0;
    } catch {
      silentSince ??= new Date();
      silences += 1;
    }
    asking = false;
    timer = setTimeout(ask, pause(status, silences));
    // Errors of the page itself must not look like a silent coordinator.
    if (status === null) onSilence(silentSince);
    else onAnswer(status);
    if (status !== null) await askHistory(status);
  }

  async function askHistory(status) {
    const course = `${status.run} ${status.history_until}`;
    const isDue = status.phase === "finished" || performance.now() - courseAsked >= HISTORY_MS;
    if (document.hidden || course === courseKnown || !isDue) return;
    courseAsked = performance.now();
    try {
      const history = await fetchJson("api/history");
      courseKnown = course;
      onHistory(history);
    } catch {
      // The next status brings another try.
    }
  }

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) ask();
  });
  addEventListener("online", ask);
  ask();
  return ask;
}

function pause(status, silences) {
  if (status === null) return Math.min(VISIBLE_MS * 1.5 ** (silences - 1), SILENT_MS_MAX);
  // A page that still needs something goes on as before, or the coordinator takes it for closed.
  if (status.phase === "finished" && needs === "") return FINISHED_MS;
  return document.hidden ? HIDDEN_MS : VISIBLE_MS;
}

async function fetchJson(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer.json();
}
