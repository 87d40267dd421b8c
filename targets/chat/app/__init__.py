"""The chat service itself: what the nodes run.

Nothing here knows the harness. The package runs as `python -m app SETTINGS`, with its parent folder
and that of `primitives` on the path; that is why imports in here are relative. It is asyncio alone:
time is the loop's, randomness a `random.Random` that `__main__` hands in.

Everything that is said goes into the log of the node it was said at, and nothing is told to anybody
before it stands there:

    socket ─► channels ─► store (this node's log, in SQLite) ─► hub ─► sockets of this node
                            │   ▲                                └─► fanout ─► PubSub ─► other nodes
                            ▼   │ in order, gaps fetched
                          history   replication ◄── PubSub, and whoever has it (anti-entropy)

- `protocol` is what travels on a socket (Phoenix Channels, version 2), `sockets` one socket and
  what is queued for it, `crowd` all of them, `channels` what clients do, `api` the port that all of
  it is behind, `export` a room as a document;
- `entries` are what logs are made of, `store` keeps them, `history` reads them for people,
  `replication` brings every node's log to every node;
- `hub` knows who listens to which topic here, `delivery` tells them what was written, `fanout`
  the other nodes;
- `presence` is who is there (a CRDT over the nodes), `assistant` answers with `models`, and
  `streams` is what every node knows of its answers;
- `service` puts these together; `node` adds the mesh and the port, starts it all and ends it.
"""
