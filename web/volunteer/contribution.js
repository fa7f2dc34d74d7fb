// What this tab has contributed to one run, over all its starts and stops.

const NOTHING = { examples: 0, ofAll: 0, late: 0, seconds: 0 };

export class Contribution {
  #run = null;
  /** The sums of this tab's earlier hubs, and the present hub's last report. */
  #earlier = { ...NOTHING };
  #present = { ...NOTHING };
  /** The stretches of the run, in its own seconds, in which this tab helped: {from, to}. */
  #stays = [];

  /** The page shows that run now; what was done for another is forgotten. */
  follow(run) {
    if (run === this.#run) return;
    this.#run = run;
    this.#earlier = { ...NOTHING };
    this.#present = { ...NOTHING };
    this.#stays = [];
  }

  /** The hub reports. */
  report({ examples_counted: examples, examples_of_all: ofAll, results_late: late, computing_ms: milliseconds }) {
    this.#present = { examples, ofAll, late, seconds: milliseconds / 1000 };
  }

  /** The hub has ended. */
  hubEnded() {
    const { examples, ofAll, late, seconds } = this;
    this.#earlier = { examples, late, seconds, ofAll };
    this.#present = { ...NOTHING };
  }

  /** The run is `seconds` old; `helping` says whether this tab works for it. */
  at(seconds, helping) {
    const last = this.#stays.at(-1);
    if (!helping) {
      if (last) last.open = false;
    } else if (last?.open) {
      last.to = seconds;
    } else {
      this.#stays.push({ from: seconds, to: seconds, open: true });
    }
  }

  get stays() {
    return this.#stays;
  }

  get examples() {
    return this.#earlier.examples + this.#present.examples;
  }

  get late() {
    return this.#earlier.late + this.#present.late;
  }

  /** Seconds of computing. */
  get seconds() {
    return this.#earlier.seconds + this.#present.seconds;
  }

  /** Everybody's examples, as the coordinator last told: its count goes on when this tab starts another hub. */
  get ofAll() {
    return Math.max(this.#earlier.ofAll, this.#present.ofAll);
  }

  /** This tab's part of everybody's examples, 0 to 1; null before there are any. */
  get share() {
    return this.ofAll > 0 ? Math.min(1, this.examples / this.ofAll) : null;
  }
}
