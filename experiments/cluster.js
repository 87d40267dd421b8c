// Requests to the limiter at a steady rate, all for one key, every node asked as often as any other.
// MODE is strict or approximate, RATE the requests per second over all nodes.

import http from "k6/http";
import exec from "k6/execution";
import { check } from "k6";

const NODES = (__ENV.HARNESS_NODES || "127.0.0.1").split(",");
const DURATION = __ENV.HARNESS_DURATION || "30s";
const MODE = __ENV.MODE || "approximate";
const RATE = Number(__ENV.RATE || 300);

const ADMITTED = 200;
const LIMIT_REACHED = 429;

export const options = {
  scenarios: {
    limit: {
      executor: "constant-arrival-rate",
      exec: "request",
      rate: RATE,
      timeUnit: "1s",
      duration: DURATION,
      preAllocatedVUs: Math.max(10, Math.ceil(RATE / 20)),
      maxVUs: RATE,
    },
  },
  thresholds: { "checks{scenario:limit}": ["rate>0.97"] },
};

http.setResponseCallback(http.expectedStatuses(ADMITTED, LIMIT_REACHED));

export function request() {
  const place = exec.scenario.iterationInTest % NODES.length;
  const answer = http.post(`http://${NODES[place]}:8080/limit/load?mode=${MODE}`, null, {
    tags: { name: `request node-${place + 1}` },
    timeout: "2s",
  });
  check(answer, { "the limiter decides": (r) => [ADMITTED, LIMIT_REACHED].includes(r.status) });
}
