// Asks the coordinator for the state of the run while the page is open.

const VISIBLE_MS = 1000;
const HIDDEN_MS = 2000;
const PATIENCE_MS = 5000;

/**
 * Calls `onAnswer(status)` after every answer and `onSilence(since)` after every failure, where
 * `since` is the time (Date) of the first failure in a row.
 */
export function watch(onAnswer, onSilence) {
  let silentSince = null;
  let timer = 0;
  let asking = false;

  async function ask() {
    clearTimeout(timer);
    if (asking) return;
    asking = true;
    try {
      const status = await fetchStatus();
      silentSince = null;
      onAnswer(status);
    } catch {
      silentSince ??= new Date();
      onSilence(silentSince);
    } finally {
      asking = false;
      timer = setTimeout(ask, document.hidden ? HIDDEN_MS : VISIBLE_MS);
    }
  }

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) ask();
  });
  ask();
}

async function fetchStatus() {
  const impatience = new AbortController();
  const timer = setTimeout(() => impatience.abort(), PATIENCE_MS);
  try {
    const answer = await fetch("/api/status", { cache: "no-store", signal: impatience.signal });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    return await answer.json();
  } finally {
    clearTimeout(timer);
  }
}
