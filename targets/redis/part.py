"""Where the Redis server is found: on PATH. It is its own Sentinel, with `--sentinel`."""

from __future__ import annotations

from harness.parts import Part

REDIS = Part(
    name="Redis",
    executable="redis-server",
    ways=("apt-get install redis-server",),
    minimum="7.0",  # the first whose Sentinel can be told its periods
    version_pattern=r"v=(\d+(?:\.\d+)+)",
)
