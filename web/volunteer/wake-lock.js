// Keeps a phone's screen on while it lends, because a sleeping phone computes nothing. The page offers it only
// on handheld devices whose browser supports it.

/** Whether the page offers this on the device. */
export const offered = "wakeLock" in navigator && matchMedia("(pointer: coarse)").matches;

let wanted = false;
let lock = null;

/** Requests or releases the lock on the screen. Does nothing where it is not offered. */
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
    // The browser refused, for instance because the battery is low. Lending goes on without the lock.
  }
}
