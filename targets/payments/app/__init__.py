"""The payments service itself, and the four dependencies it calls: what the nodes run.

Nothing here knows the harness. The package runs as `python -m app SETTINGS`, with its parent folder
on the path, so that a node starts without importing the harness; that is why imports in here are
relative. It is asyncio alone: time is the loop's, randomness a `random.Random` that `__main__` and
the supervisor hand in.

`supervisor` forks the workers of a member, `worker` is one of them. In a worker a request goes from
`api` through `charges` (what a charge is) to `services` (one client per dependency), each guarded
by `guard` (time-out, retries, breaker, bulkhead: `resilience`). `outbox` and `analytics` go on
behind the answers. `dependencies` are the processes on the other side.
"""
