// The benchmark's page measures every case in both arithmetics, on one core and on all, shows the results and leaves
// them in `window.result`. The address selects what is measured: ?quick, ?case=mlp (the beginning of a name, may be
// repeated), ?arithmetic=fused, and ?report to hand the result to `shoal bench`. With ?quick or ?report nobody has to
// press Start.

import { hasRelaxedSimd, obstacle } from "../volunteer/capabilities.js";
import { startCrew } from "./crew.js";
import { measure, rhythm } from "./measure.js";
import * as view from "./view.js";

/** The protocol's limit on the cores of one volunteer. */
const CORES_MAX = 256;
const GIGA = 1e9;

const wishes = new URLSearchParams(location.search);
const isWanted = (wish, name) => !wishes.has(wish) || wishes.getAll(wish).some((start) => name.startsWith(start));

async function run() {
  view.begin();
  window.result = undefined;
  let result;
  try {
    result = await measureAll();
  } catch (error) {
    result = { error: error.message || String(error) };
  }
  if (wishes.has("report")) {
    try {
      await hand(result);
    } catch (error) {
      result = { error: error.message || String(error) };
      // `shoal bench` waits for a result, so tell it why there is none, if it accepts that at least.
      await hand(result).catch(() => {});
    }
  }
  window.result = result;
  if ("error" in result) view.fail(result.error);
  else view.finish(result);
}

/** Fetches. Browsers name a request that got no answer in words of their own, each in others. */
const get = (path, how) => fetch(path, how).catch(() => {
  throw new Error(`The coordinator at ${location.host} does not answer; measure again when it runs.`);
});

/** Hands the result to `shoal bench`. */
async function hand(result) {
  const answer = await get("bench/result", { method: "POST", body: JSON.stringify(result) });
  if (!answer.ok) throw new Error(`The server refused the result (${answer.status}): ${await answer.text()}`);
}

async function measureAll() {
  const problem = obstacle("portable");
  if (problem !== null) throw new Error(problem);
  const cores = Math.min(Math.max(navigator.hardwareConcurrency || 1, 1), CORES_MAX);
  const result = {
    machine: { kind: "browser", name: navigator.userAgent, cores },
    roofs: [],
    cases: [],
    missing: [],
  };
  const arithmetics = ["portable", "fused"].filter((name) => isWanted("arithmetic", name));
  if (arithmetics.includes("fused") && !hasRelaxedSimd()) {
    arithmetics.splice(arithmetics.indexOf("fused"), 1);
    result.missing.push({ arithmetic: "fused", reason: "This browser has no WebAssembly relaxed SIMD." });
  }
  view.introduce(result);
  const answer = await get("bench/mnist");
  if (!answer.ok) throw new Error(`The examples could not be loaded (${answer.status}).`);
  const mnist = new Uint8Array(await answer.arrayBuffer());
  const groups = arithmetics.flatMap((arithmetic) => [...new Set([1, cores])].map((count) => [arithmetic, count]));
  for (const [index, [arithmetic, count]] of groups.entries()) {
    const module = await WebAssembly.compileStreaming(get(`worker/${arithmetic}/worker_bg.wasm`));
    const crew = await startCrew(arithmetic, module, count);
    try {
      await measureGroup(crew, mnist, result, (share) => view.progress((index + share) / groups.length));
    } finally {
      crew.end();
    }
  }
  return result;
}

/** Measures every case in one arithmetic on that many cores, and the roof before and after them. */
async function measureGroup(crew, mnist, result, tell) {
  const { arithmetic } = crew;
  const cores = crew.cores.length;
  const roofs = crew.cases.filter(({ examples }) => examples === 0);
  const cases = crew.cases.filter(({ name, examples }) => examples > 0 && isWanted("case", name));
  const order = [...roofs, ...cases, ...roofs];
  const roof = { arithmetic, cores, gflops: 0, gflops_median: 0 };
  const found = [];
  for (const [index, { name, examples }] of order.entries()) {
    view.say(`Measuring ${name}, ${arithmetic}, on ${cores === 1 ? "one core" : `${cores} cores`}…`);
    const { best, median, operationsPerStep } =
      await measure(crew, name, mnist, cores, rhythm(wishes.has("quick")));
    const speed = {
      gflops: (best * operationsPerStep) / GIGA,
      gflops_median: (median * operationsPerStep) / GIGA,
    };
    if (examples === 0) {
      if (speed.gflops > roof.gflops) Object.assign(roof, speed);
    } else {
      found.push({ case: name, arithmetic, cores, ...speed, examples_per_second: best * examples });
    }
    tell((index + 1) / order.length);
  }
  result.roofs.push(roof);
  for (const row of found) result.cases.push({ ...row, roof_share: row.gflops / roof.gflops });
  view.show(result);
}

view.onStart(run);
if (wishes.has("quick") || wishes.has("report")) run();
else view.ready();
