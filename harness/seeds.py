"""One root seed, many named streams (D2).

Every random choice comes from `stream(seed, name, …)`. Streams with different names are
independent, so a new consumer of randomness never shifts the choices of another one.
"""

from __future__ import annotations

import hashlib
import random
import secrets

SESSION_LIMIT = 2**32
"""Seeds below this number belong to a session: each experiment derives its own from one.
Seeds from here on are one experiment's own (they are what runs are named by) and used as given."""

_OWN_LIMIT = 2**53  # the largest range that JSON readers in every language keep exact


def fresh_session_seed() -> int:
    """A new session seed from the operating system, short enough to type."""
    return secrets.randbelow(10**9)


def _digest(seed: int, name: str) -> int:
    data = f"{seed}:{name}".encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=16).digest(), "big")


def own_seed(seed: int, experiment: str, number: int = 0) -> int:
    """The seed of one experiment, a function of the session's seed and the experiment's id alone.

    `number` tells apart the runs of one experiment under several seeds; the first is 0. A seed
    that already is an experiment's own is returned as it is for number 0, which is how
    `--chaos-seed` with a run's seed repeats that run alone.
    """
    if seed >= SESSION_LIMIT and number == 0:
        return seed
    return SESSION_LIMIT + _digest(seed, f"experiment:{experiment}:{number}") % (
        _OWN_LIMIT - SESSION_LIMIT
    )


def stream(seed: int, *name: str | int) -> random.Random:
    """The stream of randomness called `name`, e.g. `stream(seed, "workload", "client-3")`."""
    return random.Random(_digest(seed, ":".join(str(part) for part in name)))
