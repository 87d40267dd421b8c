"""What the services of our own have in common, as their targets see them: Python processes that are
asked over HTTP, and say in JSON lines what happens."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

LIB = Path(__file__).with_name("lib")
"""Where the packages are that several services use."""

ASK_S = 1.0

_FIRST = 1024


def python_path(*folders: Path) -> dict[str, str]:
    """The environment in which packages are found in these folders, besides where they are anyway.
    For processes of this machine: an image says itself where its Python code is."""
    paths = [*map(str, folders), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def json_event(line: str, names: Collection[str]) -> tuple[float, str, Mapping[str, Any]] | None:
    """The event of one of these names that a line of a log tells: `{"event": name, "at": seconds of
    the loop's clock, …}`. None for any other line (a stack trace, one that a kill cut short)."""
    try:
        said = json.loads(line)
        name = said.pop("event")
        at = float(said.pop("at"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return (at, name, said) if name in names else None


async def asked(address: str, port: int, request: bytes, *, whole: bool = False) -> bytes:
    """What is answered: the first bytes, or with `whole` all until the connection ends. Raises
    `OSError`, and `TimeoutError` (which is one) after a second."""
    async with asyncio.timeout(ASK_S):
        reader, writer = await asyncio.open_connection(address, port)
        try:
            writer.write(request)
            return await reader.read(-1 if whole else _FIRST)
        finally:
            writer.close()


def well(answer: bytes) -> bool:
    """Whether it is an answer of HTTP with the status 200."""
    return b" 200 " in answer.partition(b"\r\n")[0]
