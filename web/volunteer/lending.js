// Owns this tab's hub worker: loads it, starts it, passes the visitor's choices on, and ends it.

import { takeToken } from "./token.js";

/** The hub gets this long to say goodbye to the coordinator. */
const GOODBYE_MS = 500;
/** A worker that has not arrived counts as lost after this long without a single byte. */
const PATIENCE_MS = 15_000;

const HANGS = { type: "failed", hangs: true, text: "" };

export class Lending {
  /** A loaded worker that has not been started, {arithmetic, worker, failed}; `failed` if loading failed. */
  #prepared = null;
  #hub = null;
  /** Gives the hub's token back. */
  #release = () => {};
  #watchdog = 0;
  #onReport;
  #onDownload;

  /**
   * Calls `onReport` with every report of the hub: its status, or `{type: "failed", text, hangs, unreached}`, where
   * `hangs` says that its download stands still, and `unreached` that it has broken off. Calls `onDownload` with the bytes of finished downloads.
   */
  constructor(onReport, onDownload) {
    this.#onReport = onReport;
    this.#onDownload = onDownload;
  }

  get active() {
    return this.#hub !== null;
  }

  /** Loads the worker of that arithmetic, so that `start` need not wait. It computes nothing yet. */
  prepare(arithmetic) {
    if (this.active || this.#prepared?.arithmetic === arithmetic) return;
    this.#prepared?.worker?.terminate();
    const prepared = { arithmetic, worker: null, failed: false };
    this.#prepared = prepared;
    try {
      prepared.worker = new Worker(`hub.js?arithmetic=${arithmetic}`, { type: "module", name: "shoal hub" });
    } catch {
      // Nobody has asked for this worker yet. `start` tries again, and reports a failure then.
      prepared.failed = true;
      return;
    }
    prepared.worker.onmessage = ({ data }) => {
      prepared.failed ||= data.type === "failed";
      if (data.type === "downloaded") this.#onDownload(data.bytes);
    };
    prepared.worker.onerror = (event) => {
      event.preventDefault();
      prepared.failed = true;
    };
  }

  /** `settings` as in `FromPage::Start` (worker-wasm/src/page.rs), without the token. */
  start(arithmetic, settings) {
    this.stop();
    if (this.#prepared?.failed) this.#prepared = null;
    this.prepare(arithmetic);
    const { worker: hub } = this.#prepared;
    this.#prepared = null;
    if (hub === null) {
      this.#onReport({ type: "failed", text: "the browser starts no worker" });
      return;
    }
    hub.onmessage = ({ data }) => {
      if (data.type === "downloaded") this.#onDownload(data.bytes);
      else if (hub === this.#hub) this.#hear(data);
    };
    hub.onerror = (event) => {
      event.preventDefault();
      // An error without words: the script itself has not arrived.
      const { message = "" } = event;
      if (hub === this.#hub) this.#hear({ type: "failed", text: message, unreached: message === "" });
    };
    this.#hub = hub;
    this.#wait();
    takeToken().then(({ token, release }) => {
      if (hub !== this.#hub) return release();
      this.#release = release;
      hub.postMessage({ type: "start", ...settings, token });
    });
  }

  setCores(cores) {
    this.#hub?.postMessage({ type: "cores", cores });
  }

  setEffort(effort) {
    this.#hub?.postMessage({ type: "effort", effort });
  }

  /** The coordinator answers again. */
  retry() {
    this.#hub?.postMessage({ type: "retry" });
  }

  stop() {
    const hub = this.#take();
    if (hub === null) return;
    hub.postMessage({ type: "stop" });
    setTimeout(() => hub.terminate(), GOODBYE_MS);
  }

  /** Ends the hub at once: the browser closes its connection, and the coordinator knows that it has left. */
  vanish() {
    this.#take()?.terminate();
    this.#prepared?.worker?.terminate();
    this.#prepared = null;
  }

  #take() {
    clearTimeout(this.#watchdog);
    const hub = this.#hub;
    this.#hub = null;
    this.#release();
    this.#release = () => {};
    return hub;
  }

  #wait() {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#hear(HANGS), PATIENCE_MS);
  }

  #hear(data) {
    if (data.type === "loading") return this.#wait();
    clearTimeout(this.#watchdog);
    if (data.type === "failed") this.#take()?.terminate();
    this.#onReport(data.type === "status" ? { ...data, ...data.status } : data);
  }
}
