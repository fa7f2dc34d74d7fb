// How one case is measured: in rounds, in which some cores do the same at the same time, each its own number
// of steps.

/** The lengths and the number of rounds. A quick run's numbers only show that everything works. */
export const rhythm = (quick) =>
  quick ? { warmUpMs: 5, roundMs: 2, rounds: 3 } : { warmUpMs: 150, roundMs: 40, rounds: 10 };

/** Steps a second of `cores` cores together, {best, median} of the rounds, and the operations of one step. */
export async function measure(crew, name, mnist, cores, { warmUpMs, roundMs, rounds }) {
  await crew.ask({ ask: "prepare", name, arithmetic: crew.arithmetic, mnist }, cores);
  const steps = await crew.ask({ ask: "warmUp", warmUpMs, roundMs }, cores);
  const speeds = [];
  let operationsPerStep = 0;
  for (let round = 0; round < rounds; round += 1) {
    const ran = await crew.ask((core) => ({ ask: "round", steps: steps[core] }), cores);
    // Browsers coarsen their clock on purpose, so it may not have moved.
    speeds.push(ran.reduce((sum, { seconds }, core) => sum + steps[core] / Math.max(seconds, 1e-6), 0));
    operationsPerStep = ran[0].operations / steps[0];
  }
  speeds.sort((one, other) => one - other);
  return { best: speeds.at(-1), median: speeds[Math.floor(speeds.length / 2)], operationsPerStep };
}
