"""The jobs service itself, and its database's process: what the nodes run.

Nothing here knows the harness. The package runs as `python -m app SETTINGS`, with its parent folder
on the path, so that a node starts without importing the harness; that is why imports in here are
relative. It is asyncio alone: time is the loop's, or the database's where nodes must agree;
randomness a `random.Random` that `__main__` hands in.

`node` is the process of any role, with `http` as its server. A web node (`webnode`) answers `web`:
`jobs` enqueues, `accounts` changes and deletes softly, `audit` records both, `waiting` keeps those
who wait for a job. A worker (`worker`) fetches through `queue`, which is procrastinate within our
bounds; `execution` runs a job (`work`) and writes how it ended, behind a fence; `recovery` finds
the jobs of workers that are gone. `leader` holds the lease, `cron` and `pruning` work while it
does. The gate (`gate`, `colours`, `rollout`) routes between blue and green. All of it goes to
PostgreSQL through `database`; `schema` and `migrations/` say what is there, and who may do what
with it. `postgres` starts the server."""
