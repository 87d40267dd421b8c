"""python -m app SETTINGS: one node, in the foreground, with its data in the working directory."""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from .node import Node
from .settings import Settings


def main(path: str) -> None:
    settings = Settings.read(Path(path))
    _allow_many_sockets()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    await Node(settings, Path.cwd(), random.Random()).run()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, or asyncio's own where there is none."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _allow_many_sockets() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main(*sys.argv[1:])
