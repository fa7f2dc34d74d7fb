// Starts the hub: the one worker of this tab that talks to the coordinator. The hub itself is WebAssembly.
// Messages that arrive before it is loaded are kept and handed over.
const early = [];
onmessage = (event) => early.push(event.data);
try {
  const arithmetic = new URL(location.href).searchParams.get("arithmetic") === "fused" ? "fused" : "portable";
  const { default: initialize, start_hub: startHub } = await import(`/worker/${arithmetic}/worker.js`);
  await initialize();
  startHub(arithmetic, early);
} catch (error) {
  postMessage({ type: "failed", text: String(error) });
}
