// Keeps a phone's screen on while it lends, because a sleeping phone computes nothing. Optional:
// only offered where the browser can do it and the device is held in a hand.

/** Whether to offer it on this device. */
export const offered = "wakeLock" in navigator && matchMedia("(pointer: coarse)").matches;

let wanted = false;
let lock = null;

/** Asks for, or gives up, a screen that stays on. Does nothing where it is not offered. */
export function keepAwake(wish) {
  wanted = wish && offered;
  if (!wanted) {
    lock?.release();
    lock = null;
  } else {
    acquire();
  }
}

// The browser drops the lock whenever the page is hidden.
document.addEventListener("visibilitychange", acquire);

async function acquire() {
  if (!wanted || document.hidden || (lock !== null && !lock.released)) return;
  try {
    lock = await navigator.wakeLock.request("screen");
    if (!wanted) lock.release();
  } catch {
    // Refused, for instance because the battery is low: lending goes on without it.
  }
}
