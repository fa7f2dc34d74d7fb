// The cores of the benchmark: one Web Worker for each. All do the same at the same time.

/** Starts that many cores with the worker of that arithmetic, compiled to `module`. */
export async function startCrew(arithmetic, module, cores) {
  const crew = new Crew(arithmetic, cores);
  try {
    [crew.cases] = await crew.ask({ ask: "load", arithmetic, module });
  } catch (error) {
    crew.end();
    throw error;
  }
  return crew;
}

class Crew {
  constructor(arithmetic, cores) {
    this.arithmetic = arithmetic;
    this.cores = Array.from({ length: cores }, () => new Worker("bench/core.js", { type: "module" }));
  }

  /** Asks the first `count` cores the same question (or each its own, by a function), and resolves to their answers. */
  ask(question, count = this.cores.length) {
    const of = typeof question === "function" ? question : () => question;
    return Promise.all(this.cores.slice(0, count).map((core, index) => answer(core, of(index))));
  }

  end() {
    for (const core of this.cores) core.terminate();
  }
}

function answer(core, question) {
  return new Promise((resolve, reject) => {
    core.onmessage = ({ data }) => ("error" in data ? reject(new Error(data.error)) : resolve(data.value));
    core.onerror = (event) => reject(new Error(event.message || "a worker of this page could not be started"));
    core.postMessage(question);
  });
}
