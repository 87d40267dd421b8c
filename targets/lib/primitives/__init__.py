"""The pieces that nodes of our own services are built from: framed TCP, a mesh, gossip membership,
publish/subscribe, delta CRDTs, elections, rate limiters.

Nothing here knows the harness or a service. Everything is asyncio on one loop: time is the loop's,
randomness a `random.Random` that is handed in, and no thread is used. The contracts, and what every
adapter of them must preserve, are in README.md beside this package.

Built on each other from left to right: `frames`, `connection`, `mesh`, then `membership`, `pubsub`,
`crdt`, `coordination` and `limiter`. `telemetry`, `tasks`, `callbacks` and `names` serve them all.
"""
