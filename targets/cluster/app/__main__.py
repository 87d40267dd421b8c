"""python -m app SETTINGS: one node, in the foreground, with its data in the working directory."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

from .node import Node
from .settings import Settings


def main(path: str) -> None:
    settings = Settings.read(Path(path))

    async def serve() -> None:
        await Node(settings, Path.cwd(), random.Random()).run()

    asyncio.run(serve())


if __name__ == "__main__":
    main(*sys.argv[1:])
