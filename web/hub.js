// Starts the hub: the one worker of this tab that talks to the coordinator. The hub itself is WebAssembly.
// Messages that arrive before it is loaded are kept and handed over. The page is told of every byte that arrives, so
// that it can tell a slow download from one that hangs, and of the bytes that all downloads of this worker took. Those
// from other addresses than the coordinator's the hub counts itself: browsers seldom tell their bytes.
const early = [];
onmessage = (event) => early.push(event.data);

new PerformanceObserver((list) => {
  const own = list.getEntries().filter(({ name }) => name.startsWith(`${location.origin}/`));
  const bytes = own.reduce((sum, entry) => sum + (entry.transferSize ?? 0), 0);
  if (bytes > 0) postMessage({ type: "downloaded", bytes });
}).observe({ type: "resource", buffered: true });

/** The answer, whose body tells the page of its progress. */
function watched(answer) {
  const progress = new TransformStream({
    transform(chunk, controller) {
      postMessage({ type: "loading" });
      controller.enqueue(chunk);
    },
  });
  const { status, statusText, headers } = answer;
  return new Response(answer.body.pipeThrough(progress), { status, statusText, headers });
}

let arrived = false;
try {
  const arithmetic = new URL(location.href).searchParams.get("arithmetic") === "fused" ? "fused" : "portable";
  const { default: initialize, start_hub: startHub } = await import(`./worker/${arithmetic}/worker.js`);
  postMessage({ type: "loading" });
  const module = fetch(new URL(`./worker/${arithmetic}/worker_bg.wasm`, import.meta.url)).then(watched);
  await initialize({ module_or_path: module });
  postMessage({ type: "loading" });
  arrived = true;
  startHub(arithmetic, early);
} catch (error) {
  // Browsers have this kind of error for downloads that fail.
  postMessage({ type: "failed", text: String(error), unreached: !arrived && error instanceof TypeError });
}
