// Tells screen readers what has changed, but not every flicker between two states. What was said is
// taken away again, because whoever reads the page meets the same on it elsewhere.

const PAUSE_MS = 4000;

let said = null;
let latest = null;
let pausing = false;

/** Has `text` said politely in `region`, or whatever is newest once the last has had its time. */
export function announce(region, text) {
  latest = text;
  // What stands on the page when it is opened is read there.
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
