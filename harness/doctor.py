"""What works on this machine, what is missing, and how to get it: `harness doctor`."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, Literal, TypeAlias

from harness.catalogue import known_targets
from harness.errors import HarnessError, MissingPartError, UsageError
from harness.load.part import K6_PART
from harness.parts import TOXIPROXY, Found, Part, fetch_toxiproxy, fetchable_by, look_for
from harness.runtime.namespaces import namespaces

State: TypeAlias = Literal["ok", "missing", "old"]

_NAMESPACES = {
    "root": "each node gets a hosts file of its own",
    "user": "each node gets a hosts file of its own, in a user namespace",
    "none": "only targets that take peer addresses by configuration can run",
}


@dataclass(frozen=True)
class Row:
    """One thing that was looked for. `blocks` says that nothing can run without it, `limits`, in
    lines, what it cannot do here although it is there."""

    part: str
    state: State
    version: str = ""
    where: str = ""
    get: str = ""
    blocks: bool = False
    limits: str = ""


def examine(*, fetch: bool = False) -> list[Row]:
    """Look for everything that experiments need, those of the project's targets included; downloads
    only with `fetch`."""
    return [
        *(_python(), _pytest(), _toxiproxy(fetch), _namespaces(), _docker(), _part(K6_PART)),
        *_targets(),
    ]


def works(rows: list[Row]) -> bool:
    """Whether experiments can run here, if not those of every target."""
    return not any(row.blocks for row in rows)


def to_json(rows: list[Row]) -> dict[str, Any]:
    """The rows for programs."""
    return {"works": works(rows), "parts": [asdict(row) for row in rows]}


def table(rows: list[Row]) -> str:
    """The rows for people, with a last line that says what they come to."""
    titles = ("part", "state", "version", "where")
    cells = [titles, *((row.part, row.state, row.version, row.where) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(titles))]
    lines = []
    for number, line in enumerate(cells):
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        lines.append(text.rstrip())
        if number:
            row = rows[number - 1]
            lines += [f"    {each}" for each in (*row.limits.splitlines(), *row.get.splitlines())]
    if works(rows):
        lines.append("\nExperiments can run here.")
    else:
        blocking = ", ".join(row.part for row in rows if row.blocks)
        lines.append(f"\nNo experiment can run here until this is mended: {blocking}.")
    return "\n".join(lines)


def _python() -> Row:
    # Older than 3.11 this module could not have been imported.
    return Row("Python", "ok", platform.python_version(), sys.executable)


def _pytest() -> Row:
    try:
        found = metadata.distribution("pytest")
    except metadata.PackageNotFoundError:
        return Row("pytest", "missing", get="pip install 'pytest>=8.2'", blocks=True)
    return Row("pytest", "ok", found.version, str(found.locate_file("pytest")))


def _toxiproxy(fetch: bool) -> Row:
    if fetch:
        try:
            return _found(TOXIPROXY, fetch_toxiproxy())
        except MissingPartError as error:
            return Row(TOXIPROXY.name, "missing", get=str(error), blocks=True)
    row = _part(TOXIPROXY)
    if row.state == "ok":
        return row
    way = fetchable_by()
    # Whoever named a program with the variable gets no other one.
    if way is None or os.environ.get(TOXIPROXY.variable or ""):
        return Row(row.part, row.state, row.version, row.where, row.get, blocks=True)
    get = f"It will be {way} when it is first needed, or now: harness doctor --fetch"
    return Row(row.part, row.state, row.version, row.where, get)


def _namespaces() -> Row:
    support = namespaces()
    meaning = f"{support.kind}: {_NAMESPACES[support.kind]}"
    if support.kind == "none":
        return Row("namespaces", "missing", where=meaning, get=support.reason)
    return Row("namespaces", "ok", where=meaning)


def _docker() -> Row:
    from harness.runtime.docker.engine import connect
    from harness.runtime.docker.limits import limits_of

    try:
        engine = connect()
    except HarnessError as error:
        # The process runtime needs none.
        return Row("Docker", "missing", where="only for --chaos-runtime docker", get=str(error))
    facts = engine.facts
    try:
        limits = limits_of(engine)
    except (HarnessError, OSError) as error:  # an engine may end at any moment
        limits = [str(error)]
    where = f"{engine.where}: {facts.storage_driver}, cgroup {facts.cgroup_version}"
    return Row("Docker", "ok", facts.version, where, limits="\n".join(limits))


def _targets() -> list[Row]:
    try:
        known = known_targets()
    except UsageError as error:
        return [Row("targets", "missing", where=error.what, get=str(error))]
    parts = {part.name: part for kind in known.values() for part in kind.parts}
    return [_part(part) for part in parts.values()]


def _part(part: Part) -> Row:
    answer = look_for(part)
    if isinstance(answer, Found):
        return _found(part, answer)
    get = str(answer.error)
    if not answer.refusals:
        return Row(part.name, "missing", get=get)
    first = answer.refusals[0]
    state: State = "old" if first.version else "missing"
    return Row(part.name, state, first.version or "", f"{first.where}: {first.path}", get)


def _found(part: Part, found: Found) -> Row:
    return Row(part.name, "ok", found.version, f"{found.where}: {found.path}")
