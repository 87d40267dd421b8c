// What the harness adds to a k6 script. It is imported before the script, so that the script's own
// top-level code already draws from the run's seed.

import exec from "k6/execution";
import { randomSeed } from "k6";

// k6 takes seeds modulo this prime (Go's math/rand). Steps of a constant within it never meet again,
// so that no two iterations of a scenario draw the same numbers.
const SEEDS = 2147483647;
const STEP = 1664525;

// k6 counts these apart from virtual users, so that they cannot be told by window.
const WHOLE_RUN = ["vus", "vus_max", "dropped_iterations"];

randomSeed(seedOf(`init:${__VU}`));

/** `body` with the n-th iteration of a scenario drawing the same numbers in every run of one seed,
 * whichever virtual user it falls to, and with its samples tagged by the window it began in. */
export function iteration(body, warmupMs) {
  if (body === undefined) return undefined; // k6 says that the script does not export it
  return function (data) {
    const scenario = exec.scenario;
    const warm = Date.now() - scenario.startTime >= warmupMs;
    exec.vu.metrics.tags.window = warm ? "judged" : "warmup";
    randomSeed((seedOf(scenario.name) + scenario.iterationInTest * STEP) % SEEDS);
    return body(data);
  };
}

/** The script's options with its thresholds on the judged window alone, and `scenarios` (if any)
 * for a script that has none. */
export function judged(options, scenarios) {
  const thresholds = {};
  const stats = new Set(options.summaryTrendStats || ["avg", "min", "med", "max", "p(95)"]);
  stats.add("count"); // without which nobody can tell a fast answer from none
  for (const [metric, expressions] of Object.entries(options.thresholds || {})) {
    thresholds[inWindow(metric)] = expressions;
    for (const expression of [].concat(expressions)) {
      const percentile = /^\s*(p\([\d.]+\))/.exec(expression.threshold || expression);
      if (percentile) stats.add(percentile[1]);
    }
  }
  const changed = { thresholds: thresholds, summaryTrendStats: Array.from(stats) };
  return Object.assign({}, options, changed, scenarios ? { scenarios: scenarios } : {});
}

/** What the script's own handleSummary asks for, kept in `folder`, and `summary.json`. */
export function summarize(data, own, folder) {
  const files = {};
  try {
    for (const [name, content] of Object.entries((own && own(data)) || {})) {
      const kept = name === "stdout" || name === "stderr" || name.startsWith("/");
      files[kept ? name : `${folder}/${name}`] = content;
    }
  } catch (error) {
    console.error(`handleSummary: ${error}`);
  }
  files[`${folder}/summary.json`] = JSON.stringify(data);
  return files;
}

function inWindow(metric) {
  if (WHOLE_RUN.includes(metric.split("{")[0].trim())) return metric;
  const tags = metric.lastIndexOf("}");
  if (tags < 0) return `${metric}{window:judged}`;
  return `${metric.slice(0, tags)},window:judged}`;
}

function seedOf(name) {
  let seed = 0;
  for (const letter of `${__ENV.HARNESS_SEED}:${name}`) {
    seed = (seed * 1000003 + letter.codePointAt(0)) % SEEDS;
  }
  return seed;
}
