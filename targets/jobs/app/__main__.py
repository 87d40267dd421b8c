"""python -m app SETTINGS: one node, in the foreground, with its data in the working directory."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

from .node import Node
from .settings import Settings


def main(path: str) -> int:
    settings = Settings.read(Path(path))
    # Names are looked up before there is a loop that would be held up by it.
    if settings.role == "gate":
        from .gate import resolve_colours

        addresses = resolve_colours(settings)
    else:
        from .database import resolve

        addresses = {"postgres": resolve(settings)}
    return asyncio.run(_serve(settings, addresses))


async def _serve(settings: Settings, addresses: dict[str, str]) -> int:
    return await _node(settings, addresses, random.Random()).serve()


def _node(settings: Settings, addresses: dict[str, str], random: random.Random) -> Node:
    match settings.role:
        case "gate":
            from .gate import GateNode

            return GateNode(settings, addresses, random)
        case "web":
            from .webnode import WebNode

            return WebNode(settings, addresses["postgres"], random)
        case "worker":
            from .worker import WorkerNode

            return WorkerNode(settings, addresses["postgres"], random)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
