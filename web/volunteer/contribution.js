// Counts what this tab has contributed over all its starts and stops.

export class Contribution {
  /** The totals of this tab's earlier hubs, and the present hub's last report. */
  #earlier = { units: 0, examples: 0, seconds: 0 };
  #report = null;
  #since = null;
  /** The run's and this tab's totals when the tab began to lend to the run. */
  #origin = null;

  begin() {
    this.#since = performance.now();
  }

  report(report) {
    this.#report = report;
  }

  end() {
    this.#earlier = { units: this.units, examples: this.examples, seconds: this.seconds };
    this.#report = null;
    this.#since = null;
  }

  get units() {
    return this.#earlier.units + (this.#report?.units_done ?? 0);
  }

  get examples() {
    return this.#earlier.examples + (this.#report?.examples_done ?? 0);
  }

  /** Seconds lent. */
  get seconds() {
    return this.#earlier.seconds + (this.#since === null ? 0 : (performance.now() - this.#since) / 1000);
  }

  /**
   * This tab's part, 0..1, of all work computed since the tab joined `run`; null before there is any. It is an
   * estimate: unfinished rounds and evaluations are counted for this tab only.
   */
  share(run) {
    const everyones = run.epochs * run.examples;
    if (this.#since !== null && this.#origin?.run !== run.run) {
      this.#origin = { run: run.run, everyones, own: this.examples };
    }
    if (this.#origin === null || everyones <= this.#origin.everyones) return null;
    return Math.min(1, (this.examples - this.#origin.own) / (everyones - this.#origin.everyones));
  }
}
