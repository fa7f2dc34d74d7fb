// Tells screen readers about changes, but not about every flicker between two states. An announcement is
// removed after a while, because the page shows the same text elsewhere.

const PAUSE_MS = 4000;

let said = null;
let latest = null;
let pausing = false;

/** Announces `text` politely in `region`. During a pause it waits, and then announces the newest text. */
export function announce(region, text) {
  latest = text;
  // Screen readers read the page's first text themselves.
  said ??= text;
  if (pausing || text === said) return;
  said = text;
  region.textContent = text;
  pausing = true;
  setTimeout(() => {
    pausing = false;
    region.textContent = "";
    announce(region, latest);
  }, PAUSE_MS);
}
