// Owns this tab's hub worker: loads it, starts it, passes the visitor's choices on, and ends it.

/** The hub gets this long to say goodbye to the coordinator. */
const GOODBYE_MS = 500;

export class Lending {
  /** A loaded worker that has not been started, {arithmetic, worker, failed}; `failed` if loading failed. */
  #prepared = null;
  #hub = null;
  #onReport;

  /** Calls `onReport` with every report of the hub: its status, or `{type: "failed", text}`. */
  constructor(onReport) {
    this.#onReport = onReport;
  }

  get active() {
    return this.#hub !== null;
  }

  /** Loads the worker of that arithmetic, so that `start` need not wait. It computes nothing yet. */
  prepare(arithmetic) {
    if (this.active || this.#prepared?.arithmetic === arithmetic) return;
    this.#prepared?.worker.terminate();
    const worker = new Worker(`/hub.js?arithmetic=${arithmetic}`, { type: "module", name: "shoal hub" });
    const prepared = { arithmetic, worker, failed: false };
    // Nobody has asked for this worker yet. `start` tries again, and reports a failure then.
    worker.onmessage = ({ data }) => {
      prepared.failed ||= data.type === "failed";
    };
    worker.onerror = (event) => {
      event.preventDefault();
      prepared.failed = true;
    };
    this.#prepared = prepared;
  }

  /** `settings` as in `FromPage::Start` (worker-wasm/src/page.rs). */
  start(arithmetic, settings) {
    this.stop();
    if (this.#prepared?.failed) this.#prepared = null;
    this.prepare(arithmetic);
    const hub = this.#prepared.worker;
    this.#prepared = null;
    hub.onmessage = ({ data }) => {
      if (hub === this.#hub) this.#report(data);
    };
    hub.onerror = (event) => {
      event.preventDefault();
      if (hub === this.#hub) this.#report({ type: "failed", text: event.message ?? "" });
    };
    hub.postMessage({ type: "start", ...settings });
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
