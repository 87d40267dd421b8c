// Two people, each with the stock Phoenix client: alice on the first node, bob on the second.
//
//     node conversation.mjs ws://<first node>:4000/socket ws://<second node>:4000/socket
//
// What happens is written to stdout, a JSON object a line: {"did": …}. The lines "killed" and
// "restarted" on stdin say what became of alice's node meanwhile. The first thing that goes wrong,
// or takes longer than PATIENCE_MS, ends it with status 1.

import { createInterface } from "node:readline";
import { Presence, Socket } from "phoenix";
import WebSocket from "ws";

const PATIENCE_MS = 10_000;
const TOPIC = "room:lobby";

const did = (what, data = {}) => console.log(JSON.stringify({ did: what, ...data }));

function within(what, promise) {
  const late = new Promise((_, reject) =>
    setTimeout(() => reject(new Error(`${what}: not within ${PATIENCE_MS} ms`)), PATIENCE_MS).unref(),
  );
  return Promise.race([promise, late]);
}

/** An event that may have happened already when somebody waits for it. */
class Moment {
  constructor(name) {
    this.promise = new Promise((resolve) => (this.happens = resolve));
    this.name = name;
  }
  come() {
    return within(this.name, this.promise);
  }
}

const answered = (push) =>
  within(
    "a reply",
    new Promise((resolve, reject) =>
      push
        .receive("ok", resolve)
        .receive("error", (response) => reject(new Error(`refused: ${JSON.stringify(response)}`)))
        .receive("timeout", () => reject(new Error("no reply in time"))),
    ),
  );

class Person {
  constructor(name, url) {
    this.name = name;
    this.cursor = {};
    this.messages = [];
    this.joins = 0;
    this.errors = 0;
    this.waiting = [];
    this.socket = new Socket(url, { transport: WebSocket, heartbeatIntervalMs: 2000 });
    this.channel = this.socket.channel(TOPIC, () => ({ user: name, cursor: this.cursor }));
    this.presence = new Presence(this.channel);
    this.presence.onJoin((user, before) => !before && this.look());
    this.presence.onLeave(() => this.look());
    this.presence.onSync(() => this.look());
    this.channel.on("new_msg", (message) => this.hear(message));
    this.channel.onError(() => this.errors++);
  }

  async join() {
    this.socket.connect();
    const push = this.channel.join();
    // The client rejoins by sending the same push again: this is called each time.
    push.receive("ok", (reply) => {
      this.joins++;
      reply.messages.forEach((message) => this.hear(message));
      this.look();
    });
    return answered(push);
  }

  hear(message) {
    this.messages.push(message.body);
    this.cursor[message.origin] = message.seq;
    this.look();
  }

  users() {
    return this.presence.list((user) => user).sort();
  }

  /** Waits until exactly these users are there. */
  sees(...users) {
    return this.until(`sees ${users}`, () => String(this.users()) === String(users));
  }

  /** Waits until `condition` holds; it is looked at whenever something happens. */
  until(what, condition) {
    const moment = new Moment(`${this.name}: ${what}`);
    this.waiting.push({ condition, moment });
    this.look();
    return moment.come();
  }

  look() {
    this.waiting = this.waiting.filter(({ condition, moment }) => {
      if (!condition()) return true;
      moment.happens();
      return false;
    });
  }
}

async function converse([first, second], said) {
  const alice = new Person("alice", first);
  const bob = new Person("bob", second);

  await alice.join();
  await alice.sees("alice");
  did("joined", { users: alice.users() });
  await bob.join();
  await alice.sees("alice", "bob");
  await bob.sees("alice", "bob");
  did("present", { alice: alice.users(), bob: bob.users() });

  const reply = await answered(alice.channel.push("new_msg", { id: "1", body: "hi bob" }));
  await bob.until("hears alice", () => bob.messages.includes("hi bob"));
  await alice.until("hears herself", () => alice.messages.includes("hi bob"));
  did("broadcast", { reply });

  const again = await answered(alice.channel.push("new_msg", { id: "1", body: "hi bob" }));
  did("repeated", { same: again.seq === reply.seq, heard: bob.messages.length });

  try {
    await answered(alice.channel.push("no_such_event", {}));
    throw new Error("an unknown event was answered with ok");
  } catch (error) {
    did("refused", { error: error.message });
  }

  await answered(bob.channel.leave());
  await alice.sees("alice");
  did("left", { users: alice.users() });

  const back = new Person("bob", second);
  await back.join();
  did("history", { messages: back.messages });

  did("waiting");
  await said("killed");
  await back.sees("bob");
  await answered(back.channel.push("new_msg", { id: "2", body: "are you there?" }));
  did("missed", { users: back.users() });

  await said("restarted");
  await alice.until("has joined again", () => alice.joins > 1);
  await alice.until("catches up", () => alice.messages.includes("are you there?"));
  await back.sees("alice", "bob");
  await answered(alice.channel.push("new_msg", { id: "3", body: "here I am" }));
  await back.until("hears alice again", () => back.messages.includes("here I am"));
  did("rejoined", { joins: alice.joins, messages: alice.messages, others: back.messages });

  alice.socket.disconnect();
  back.socket.disconnect();
}

const lines = new Map();
const moment = (line) => lines.get(line) ?? lines.set(line, new Moment(line)).get(line);
createInterface({ input: process.stdin }).on("line", (line) => moment(line).happens());

converse(process.argv.slice(2), (line) => moment(line).come()).then(
  () => process.exit(0),
  (error) => {
    console.log(JSON.stringify({ failed: error.message }));
    process.exit(1);
  },
);
