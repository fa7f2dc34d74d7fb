// Starts a compute worker: one lent core. The hub's first message carries the compiled module, so the tab
// fetches and compiles it only once. Messages that arrive early are handed over.
const early = [];
const first = new Promise((arrived) => {
  onmessage = (event) => arrived(early.push(event.data));
});
try {
  const arithmetic = new URL(location.href).searchParams.get("arithmetic") === "fused" ? "fused" : "portable";
  const [worker] = await Promise.all([import(`./worker/${arithmetic}/worker.js`), first]);
  // What fails before this is the line's fault.
  postMessage("arrived");
  worker.initSync({ module: early.shift().module });
  worker.start_compute(early);
} catch (error) {
  postMessage({ type: "failed", text: String(error) });
}
