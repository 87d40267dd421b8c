// Many users of jobs, through the gate: some look at accounts and queues, some have a job done and
// wait for it.

import http from "k6/http";
import exec from "k6/execution";
import { check } from "k6";

const GATE = (__ENV.HARNESS_NODES || "127.0.0.1").split(",")[0];
const SEED = __ENV.HARNESS_SEED || "0";
const DURATION = __ENV.HARNESS_DURATION || "30s";
const LOOK_RATE = Number(__ENV.LOOK_RATE || 25);
const JOB_RATE = Number(__ENV.JOB_RATE || 8);
const BASE = `http://${GATE}:8082`;

function constantly(rate, name) {
  return {
    executor: "constant-arrival-rate",
    exec: name,
    rate: rate,
    timeUnit: "1s",
    duration: DURATION,
    preAllocatedVUs: Math.max(4, Math.ceil(rate / 2)),
    maxVUs: rate * 5,
  };
}

export const options = {
  scenarios: { look: constantly(LOOK_RATE, "look"), job: constantly(JOB_RATE, "job") },
};

export function look() {
  const path = Math.random() < 0.5 ? "/accounts?prefix=account-" : "/queues";
  http.get(`${BASE}${path}`, { tags: { name: "look" }, timeout: "3s" });
}

export function job() {
  const key = `k6-${SEED}-${exec.scenario.iterationInTest}`;
  const body = JSON.stringify({ key: key, queue: "emails", args: { work_ms: 20 } });
  const headers = { "Content-Type": "application/json", "X-Actor": "k6" };
  const parameters = { headers: headers, tags: { name: "job" }, timeout: "3s" };
  const answer = http.post(`${BASE}/jobs`, body, parameters);
  check(answer, { "the job is taken": (r) => r.status === 201 || r.status === 200 });
}
