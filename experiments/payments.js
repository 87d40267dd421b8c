// The traffic of many users beside the recorded clients: most of them look at the feed, some pay.

import http from "k6/http";
import exec from "k6/execution";
import { check } from "k6";

const NODES = (__ENV.HARNESS_NODES || "127.0.0.1").split(",");
const SEED = __ENV.HARNESS_SEED || "0";
const DURATION = __ENV.HARNESS_DURATION || "30s";
const FEED_RATE = Number(__ENV.FEED_RATE || 40);
const CHARGE_RATE = Number(__ENV.CHARGE_RATE || 10);

function constantly(rate, name) {
  return {
    executor: "constant-arrival-rate",
    exec: name,
    rate: rate,
    timeUnit: "1s",
    duration: DURATION,
    preAllocatedVUs: Math.max(4, rate / 2),
    maxVUs: rate * 5,
  };
}

const scenarios = { feed: constantly(FEED_RATE, "feed") };
if (CHARGE_RATE > 0) scenarios.charge = constantly(CHARGE_RATE, "charge");

export const options = {
  scenarios: scenarios,
  thresholds: { "checks{scenario:feed}": ["rate>0.99"] },
  noConnectionReuse: true,
};

function base() {
  const node = NODES[Math.floor(Math.random() * NODES.length)];
  return `http://${node}:8080`;
}

export function feed() {
  const page = Math.floor(Math.random() * 20);
  const answer = http.get(`${base()}/feed?page=${page}`, { tags: { name: "feed" }, timeout: "3s" });
  check(answer, { "the feed is served": (r) => r.status === 200 });
}

export function charge() {
  const key = `k6-${SEED}-${exec.scenario.iterationInTest}`;
  const body = JSON.stringify({ account: `account-${Math.floor(Math.random() * 50)}`, amount: 100 });
  const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
  const parameters = { headers: headers, tags: { name: "charge" }, timeout: "3s" };
  http.post(`${base()}/charges`, body, parameters);
}
