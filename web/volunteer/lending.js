// Owns this tab's hub worker: starts it, passes on what the visitor chooses, and ends it.

/** The hub gets this long to say goodbye to the coordinator. */
const GOODBYE_MS = 500;

export class Lending {
  #hub = null;
  #onReport;

  /** `onReport` is called with every report of the hub: its status, or `{type: "failed", text}`. */
  constructor(onReport) {
    this.#onReport = onReport;
  }

  get active() {
    return this.#hub !== null;
  }

  start(arithmetic, cores, fusedCapable) {
    this.stop();
    const hub = new Worker(`/hub.js?arithmetic=${arithmetic}`, { type: "module", name: "shoal hub" });
    hub.onmessage = ({ data }) => {
      if (hub === this.#hub) this.#report(data);
    };
    hub.onerror = (event) => {
      event.preventDefault();
      if (hub === this.#hub) this.#report({ type: "failed", text: event.message ?? "" });
    };
    hub.postMessage({ type: "start", cores, fused_capable: fusedCapable });
    this.#hub = hub;
  }

  setCores(cores) {
    this.#hub?.postMessage({ type: "cores", cores });
  }

  stop() {
    const hub = this.#hub;
    if (hub === null) return;
    this.#hub = null;
    hub.postMessage({ type: "stop" });
    setTimeout(() => hub.terminate(), GOODBYE_MS);
  }

  #report(data) {
    if (data.type === "failed") this.stop();
    this.#onReport(data);
  }
}
