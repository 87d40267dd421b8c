"""Compose files of one's own as targets: read, judged key by key, turned into nodes.

    target = compose_target("docker-compose.yml", scale={"web": 3})

Reading needs no engine. What is not understood is named: either the file is refused with the place
of every such key, or, where it makes no difference to what runs, the target lists it in `ignored`.
"""

from __future__ import annotations

from harness.compose.target import ComposeTarget, compose_target

__all__ = ["ComposeTarget", "compose_target"]
