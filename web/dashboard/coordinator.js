// The way to the coordinator: what the operator sees, once a second, and what the operator wants done.

const VISIBLE_MS = 1000;
const HIDDEN_MS = 3000;
const SILENT_MS_MAX = 3000;
const PATIENCE_MS = 15_000;
/** The course is asked for at most this often. */
const HISTORY_MS = 2000;

/** Names this page to the coordinator, which waits at its end until every open page has seen it. */
const PAGE = Math.floor(Math.random() * Number.MAX_SAFE_INTEGER);

/**
 * Calls `onAnswer(answer)` after every answer; its `history` is null if the course has not changed. Calls
 * `onSilence(since)` after every failure, and `onRefused(sentence)` when the operator's link is no longer good. Returns
 * a function that asks at once.
 */
export function watch({ onAnswer, onSilence, onRefused }) {
  let silentSince = null;
  let silences = 0;
  let timer = 0;
  let asking = false;
  let isRefused = false;
  let courseKnown = "";
  let courseSeen = "";
  let courseAsked = -Infinity;

  async function ask() {
    clearTimeout(timer);
    if (asking || isRefused) return;
    asking = true;
    const wantsCourse = !document.hidden && (courseKnown === "" || courseSeen !== courseKnown)
      && performance.now() - courseAsked >= HISTORY_MS;
    let answer = null;
    try {
      const reply = await fetch(`api/operator?page=${PAGE}&history=${wantsCourse ? 1 : 0}`, options());
      if (reply.status === 401) {
        isRefused = true;
      } else if (reply.ok) {
        answer = await reply.json();
      }
      silentSince = reply.ok ? null : (silentSince ?? new Date());
      silences = reply.ok ? 0 : silences + 1;
    } catch {
      silentSince ??= new Date();
      silences += 1;
    }
    asking = false;
    if (isRefused) {
      onRefused("Another training runs here now, or the right to this page has expired. Open the dashboard's link that the "
        + "coordinator printed.");
      return;
    }
    timer = setTimeout(ask, pause());
    // Errors of the page itself must not look like a silent coordinator.
    if (answer === null) {
      onSilence(silentSince);
      return;
    }
    courseSeen = `${answer.status.run} ${answer.status.history_until} ${answer.marks.length}`;
    if (answer.history !== null) {
      courseKnown = courseSeen;
      courseAsked = performance.now();
    }
    onAnswer(answer);
  }

  function pause() {
    if (silences > 0) return Math.min(VISIBLE_MS * 1.5 ** (silences - 1), SILENT_MS_MAX);
    return document.hidden ? HIDDEN_MS : VISIBLE_MS;
  }

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) ask();
  });
  addEventListener("online", ask);
  ask();
  return ask;
}

/** Has an action done. Gives the sentence that says what came of it. */
export async function act(action, body = null) {
  try {
    const reply = await fetch(`api/operator/${action}`, {
      ...options(), method: "POST", body: body === null ? "" : JSON.stringify(body),
    });
    return reply.ok ? (await reply.json()).sentence : (await reply.text()).trim();
  } catch {
    return "The coordinator does not answer. Nothing may have been done; try again.";
  }
}

/** Examples of one class that were taken for another. */
export async function examplesOf(truth, named) {
  const reply = await fetch(`api/operator/mistakes?truth=${truth}&named=${named}`, options());
  if (!reply.ok) throw new Error(await reply.text());
  return reply.json();
}

const options = () => ({ cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
