"""What runs in the place of well-known images where no registry answers: the same server, made from
Debian's packages, that takes the variables that compose files give it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from harness.container import Image

_FOLDER = Path(__file__).parents[1] / "runtime" / "docker" / "images"

STAND_INS = {
    "postgres": Image(_FOLDER / "postgres", packages=("postgresql-15",)),
    "redis": Image(_FOLDER / "redis", packages=("redis-server",)),
}
"""Repository → image."""


@cache
def with_stand_in(reference: str) -> Image:
    """The image `reference` (`postgres:15-alpine`), with its stand-in if it has one. Images of
    others with the same last name (`example.org/team/postgres`) have none. Always the same object
    for the same one."""
    repository = reference.partition("@")[0].partition(":")[0]
    known = repository.removeprefix("docker.io/").removeprefix("library/")
    stand_in = STAND_INS.get(known)
    return Image(stock=reference) if stand_in is None else replace(stand_in, stock=reference)
