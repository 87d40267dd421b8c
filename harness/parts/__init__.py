"""Real third-party programs that experiments need: found on this machine, or fetched once.

`find(part)` looks and never downloads. `toxiproxy_binary()` fetches Toxiproxy if there is none.
A target of your own says what it needs in two lines:

    REDIS = Part("Redis", "redis-server", ways=("apt-get install redis-server",), minimum="7.0")
    redis = find(REDIS)  # or MissingPartError, which says how to get it
"""

from harness.parts.part import Found, Missing, Part, Place, Refusal, find, look_for
from harness.parts.toxiproxy import TOXIPROXY, fetch_toxiproxy, fetchable_by, toxiproxy_binary

__all__ = [
    "TOXIPROXY",
    "Found",
    "Missing",
    "Part",
    "Place",
    "Refusal",
    "fetch_toxiproxy",
    "fetchable_by",
    "find",
    "look_for",
    "toxiproxy_binary",
]
