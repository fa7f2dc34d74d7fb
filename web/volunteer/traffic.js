// Counts the bytes that this tab has sent and received: its messages, and all downloads as they travelled.

/** Bytes of earlier hubs, of the present hub's messages, and of downloads. */
const earlier = { sent: 0, received: 0 };
let present = { sent: 0, received: 0 };
let downloaded = 0;

/** The hub reports the bytes of its messages so far. */
export function messages({ bytes_sent: sent, bytes_received: received, unsent_bytes: unsent = 0 }) {
  present = { sent: sent - unsent, received };
}

/** A download has ended that took so many bytes. */
export function download(bytes) {
  downloaded += bytes;
}

/** The present hub has ended. */
export function hubEnded() {
  earlier.sent += present.sent;
  earlier.received += present.received;
  present = { sent: 0, received: 0 };
}

/** Bytes and time when the tab began to work, after its first downloads. */
let origin = null;
/** A shorter time says little of what a minute takes. */
const TELLING_MS = 20_000;

/** The tab works from now on. */
export function work() {
  origin ??= { bytes: all(), at: performance.now() };
}

/** The tab does not work for now. */
export function rest() {
  origin = null;
}

/** Bytes a minute while this tab has worked; null before that can be told. */
export function perMinute() {
  const elapsed = origin === null ? 0 : performance.now() - origin.at;
  return elapsed < TELLING_MS ? null : ((all() - origin.bytes) / elapsed) * 60_000;
}

function all() {
  const { up, down } = total();
  return up + down;
}

/** Bytes so far, {up, down}. */
export function total() {
  return { up: earlier.sent + present.sent, down: earlier.received + present.received + downloaded };
}

// The page's own files and questions.
if (typeof PerformanceObserver !== "undefined") {
  const [page] = performance.getEntriesByType("navigation");
  downloaded += page?.transferSize ?? 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) downloaded += entry.transferSize ?? 0;
  }).observe({ type: "resource", buffered: true });
}
