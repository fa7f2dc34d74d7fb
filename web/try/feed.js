// The weights of a training as it goes on: asks which there are while the page is visible, fetches the last ones and
// keeps a bounded number, so that the training can be looked back on.

const VISIBLE_MS = 1500;
const PATIENCE_MS = 5000;
/** While nobody answers, the page asks less and less often, up to this. */
const SILENT_MS_MAX = 10_000;
/** Bytes of kept weights. The least recently used ones go first. */
const KEPT_BYTES_MAX = 96e6;
/** Weights larger than this are fetched only when the visitor asks for them, after the first time. */
const FOLLOWED_BYTES_MAX = 32e6;

const PAGE = Math.floor(Math.random() * Number.MAX_SAFE_INTEGER);

export class Feed {
  /** Weights by iteration, the least recently used first. */
  #kept = new Map();
  #run = null;
  #answer = null;
  #silences = 0;
  #timer = 0;
  #asking = null;
  #over = false;
  /** Called when there is news. */
  onChange = () => {};

  constructor() {
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.ask();
    });
    addEventListener("online", () => this.ask());
  }

  /** The iterations that can be shown: those of the coordinator, and while it is away those that are kept here. */
  get iterations() {
    const own = [...this.#kept.keys()];
    if (this.#answer === null) return own.sort((one, other) => one - other);
    const there = this.isSilent || this.#over ? [] : this.#answer.iterations;
    return [...new Set([...own, ...there])].sort((one, other) => one - other);
  }

  /** The last iteration whose weights are here; null before there are any. */
  get last() {
    if (this.#answer?.last !== null && this.#kept.has(this.#answer?.last)) return this.#answer.last;
    return this.#kept.size === 0 ? null : Math.max(...this.#kept.keys());
  }

  /** "empty", "fresh", "stale" or "over". */
  get state() {
    if (this.#over) return "over";
    if (this.isSilent) return "stale";
    return this.last === null ? "empty" : "fresh";
  }

  get isSilent() {
    return this.#silences > 1;
  }

  /** Whether another training than the one that the page describes runs at this address. */
  get hasChanged() {
    return this.#answer === null && this.#run !== null && this.#run.changed;
  }

  /** The weights of an iteration (an ArrayBuffer); null if they cannot be had. */
  async weights(iteration) {
    const kept = this.#kept.get(iteration);
    if (kept !== undefined) {
      this.#kept.delete(iteration);
      this.#kept.set(iteration, kept);
      return kept;
    }
    try {
      const answer = await fetch(`api/weights/${iteration}`, { cache: "no-store" });
      if (!answer.ok) return null;
      const buffer = await answer.arrayBuffer();
      this.#keep(iteration, buffer);
      return buffer;
    } catch {
      return null;
    }
  }

  /** Asks at once. */
  ask() {
    clearTimeout(this.#timer);
    this.#asking ??= this.#look().finally(() => {
      this.#asking = null;
      if (this.#over || this.hasChanged) return;
      const pause = this.#silences > 0 ? Math.min(VISIBLE_MS * 1.5 ** this.#silences, SILENT_MS_MAX) : VISIBLE_MS;
      this.#timer = setTimeout(() => (document.hidden ? null : this.ask()), pause);
    });
    return this.#asking;
  }

  async #look() {
    try {
      const has = this.last === null ? "" : `&has=${this.last}`;
      const response = await fetch(`api/snapshots?page=${PAGE}${has}`, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
      if (!response.ok) throw new Error(`status ${response.status}`);
      const answer = await response.json();
      this.#run ??= { name: answer.run, changed: false };
      if (answer.run !== this.#run.name) {
        this.#run.changed = true;
        this.#answer = null;
        return;
      }
      this.#silences = 0;
      this.#answer = answer;
      const isLarge = [...this.#kept.values()].some(({ byteLength }) => byteLength > FOLLOWED_BYTES_MAX);
      if (answer.last !== null && !this.#kept.has(answer.last) && (!isLarge || answer.final)) {
        await this.weights(answer.last);
      }
      if (answer.final && this.#kept.has(answer.last)) {
        // The coordinator waits until it knows that this page has the model.
        await fetch(`api/snapshots?page=${PAGE}&has=${answer.last}`, { cache: "no-store" }).catch(() => null);
        this.#over = true;
      }
    } catch {
      this.#silences += 1;
    }
    this.onChange();
  }

  #keep(iteration, buffer) {
    this.#kept.set(iteration, buffer);
    const total = () => [...this.#kept.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
    while (this.#kept.size > 1 && total() > KEPT_BYTES_MAX) this.#kept.delete(this.#kept.keys().next().value);
  }
}
