// The crowd beside the recorded members: groups who meet in a room of their own, each on another
// node, talk for a while, ask the assistant once, and part. How long a message takes from who sends
// it to everybody else, and a question to the first word of its answer, is measured here, on one
// clock.

import { Counter, Rate, Trend } from "k6/metrics";
import exec from "k6/execution";

// (Where it is no experiment any more it has this name.)
const { WebSocket } = (() => {
  try {
    return require("k6/websockets");
  } catch (error) {
    return require("k6/experimental/websockets");
  }
})();

const NODES = (__ENV.HARNESS_NODES || "127.0.0.1").split(",");
const DURATION = __ENV.HARNESS_DURATION || "30s";
const GROUPS = Number(__ENV.GROUPS || 4);
const PEOPLE = Number(__ENV.PEOPLE || 3); // in each group
const PACE_MS = Number(__ENV.PACE_MS || 100); // between two messages of a group
const MEETING_MS = Number(__ENV.MEETING_MS || 1500);
const FIRST_TOKEN_MS = Number(__ENV.FIRST_TOKEN_MS || 1000);
const P99_MS = Number(__ENV.P99_MS || 1000);

export const broadcast = new Trend("broadcast_latency", true);
export const acknowledged = new Trend("publish_latency", true);
export const firstToken = new Trend("first_token", true);
export const joined = new Rate("joined");
export const heard = new Counter("messages_heard");

export const options = {
  scenarios: {
    groups: { executor: "constant-vus", exec: "meet", vus: GROUPS, duration: DURATION },
  },
  thresholds: {
    broadcast_latency: [`p(99)<${P99_MS}`],
    first_token: [`p(95)<${FIRST_TOKEN_MS}`],
    joined: ["rate>0.5"],
  },
};

export function meet() {
  const meeting = `${exec.vu.idInTest}-${exec.vu.iterationInScenario}`;
  const topic = `room:k6-${meeting}`;
  for (let person = 0; person < PEOPLE; person++) attend(topic, meeting, person);
}

/** One person with one socket. The first of a group talks. */
function attend(topic, meeting, person) {
  const node = NODES[(person + exec.vu.idInTest) % NODES.length];
  const socket = new WebSocket(`ws://${node}:4000/socket/websocket?vsn=2.0.0`);
  const sent = {};
  let refs = 1;
  let live = false;
  let asked = 0;

  const push = (event, payload) => {
    refs += 1;
    socket.send(JSON.stringify(["1", String(refs), topic, event, payload]));
    return String(refs);
  };

  const answered = (ref, payload) => {
    if (ref === "1") {
      live = payload.status === "ok";
      joined.add(live);
      if (live && person === 0) {
        asked = Date.now();
        push("ask", { id: `q-${meeting}`, prompt: "what is new?", model: "echo" });
      }
    } else if (sent[ref] && payload.status === "ok") {
      acknowledged.add(Date.now() - sent[ref]);
    }
  };

  socket.addEventListener("open", () => {
    const who = { user: `k6-${meeting}-${person}`, cursor: null, presence: false };
    socket.send(JSON.stringify(["1", "1", topic, "phx_join", who]));
    const beats = setInterval(
      () => socket.send(JSON.stringify([null, "0", "phoenix", "heartbeat", {}])),
      10000,
    );
    const talk =
      person === 0 &&
      setInterval(() => {
        if (!live) return;
        const id = `${meeting}-${refs}`;
        const now = Date.now();
        sent[push("new_msg", { id: id, body: String(now) })] = now;
      }, PACE_MS);
    setTimeout(() => socket.close(), MEETING_MS);
    socket.addEventListener("close", () => {
      clearInterval(beats);
      if (talk) clearInterval(talk);
    });
  });

  socket.addEventListener("message", (frame) => {
    const [, ref, , event, payload] = JSON.parse(frame.data);
    if (event === "phx_reply") answered(ref, payload);
    if (event === "new_msg" && person > 0) {
      heard.add(1);
      broadcast.add(Date.now() - Number(payload.body));
    }
    if (event === "token" && person === 0 && payload.index === 0) {
      firstToken.add(Date.now() - asked);
    }
  });

  socket.addEventListener("error", () => {
    if (!live) joined.add(false);
  });
}
