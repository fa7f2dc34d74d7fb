// One core of the benchmark: runs cases of the volunteer's worker and times them. Each message asks for one thing;
// the answer is {value} or {error}.

let worker = null;
let bench = null;

const answers = {
  /** Loads the worker from its compiled module and answers with the cases. */
  async load({ arithmetic, module }) {
    worker = await import(arithmetic === "fused" ? "../worker/fused/worker.js" : "../worker/portable/worker.js");
    worker.initSync({ module });
    return worker.bench_cases();
  },

  prepare({ name, arithmetic, mnist }) {
    bench?.free();
    bench = null;
    bench = new worker.BenchCase(name, arithmetic, mnist);
  },

  /**
   * Runs the case until the browser has compiled it well and the caches hold its data. Answers with the number of
   * steps that fill a round.
   */
  warmUp({ warmUpMs, roundMs }) {
    const began = performance.now();
    for (let steps = 1; ;) {
      const { seconds } = run(steps);
      const enough = seconds * 1000 >= roundMs / 4;
      if (enough && performance.now() - began >= warmUpMs) {
        return Math.max(1, Math.round((steps * roundMs) / (seconds * 1000)));
      }
      if (!enough) steps *= 2;
    }
  },

  round: ({ steps }) => run(steps),
};

function run(steps) {
  const began = performance.now();
  const operations = bench.run(steps);
  return { seconds: (performance.now() - began) / 1000, operations };
}

onmessage = async ({ data }) => {
  try {
    postMessage({ value: await answers[data.ask](data) });
  } catch (error) {
    postMessage({ error: String(error) });
  }
};
