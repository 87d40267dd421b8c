"""What a part is, and how one is looked for."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from harness.errors import MissingPartError
from harness.parts.program import Answer, program_path, run_program

VERSION_TIMEOUT_S = 10.0
"""How long a program may take to say its version. It takes milliseconds; a loaded machine more."""

_said: dict[tuple[Path, tuple[str, ...], int, int, int], Answer] = {}

Place: TypeAlias = tuple[Path, str]
"""A program that may be there, and where that is in words."""


def _nowhere() -> Iterable[Place]:
    return ()


@dataclass(frozen=True)
class Part:
    """A real program that experiments need.

    `ways` tell a person how to get it, best first. `minimum` is the oldest version that will do.
    `version_pattern` must match what the program prints when called with `version_args`; its first
    group is the version. `variable` names an environment variable that, where it is set, decides
    alone which program is used. `more_places` says where to look after PATH.
    """

    name: str
    executable: str
    ways: tuple[str, ...] = ()
    version_args: tuple[str, ...] = ("--version",)
    minimum: str | None = None
    version_pattern: str = r"(\d+(?:\.\d+)+)"
    variable: str | None = None
    more_places: Callable[[], Iterable[Place]] = _nowhere


@dataclass(frozen=True)
class Found:
    """A part that is there: `path` is absolute, `where` says in words how it was found.

    `version` is in the program's own words; a build from source may say `git` or the like.
    """

    path: Path
    version: str
    where: str


@dataclass(frozen=True)
class Refusal:
    """A program that is there and will not do. `version` is None if it did not say one."""

    path: Path
    where: str
    reason: str
    version: str | None = None

    def __str__(self) -> str:
        return f"{self.path} ({self.where}) {self.reason}"


@dataclass(frozen=True)
class Missing:
    """A part that is not to be had here, with the programs that were tried and refused."""

    part: Part
    refusals: tuple[Refusal, ...]

    @property
    def error(self) -> MissingPartError:
        """The same as an error, which names the ways to get the part."""
        part = self.part
        wanted = f"{part.name} {part.minimum} or newer" if part.minimum else part.name
        why = [str(refusal) for refusal in self.refusals]
        ways = list(part.ways)
        if part.variable:
            ways.append(f"set {part.variable} to the path of one")
        return MissingPartError(
            f"{wanted} is needed and is not to be had here.",
            why="\n".join(why) or f"There is no {part.executable} on PATH.",
            do="; or ".join(ways) or f"Install {part.name}, so that {part.executable} is on PATH.",
        )


def find(part: Part) -> Found:
    """The first program that will do for `part`. Raises `MissingPartError` if there is none.

    Runs each program tried once in a process, for its version: milliseconds, `VERSION_TIMEOUT_S`
    at worst.
    """
    answer = look_for(part)
    if isinstance(answer, Missing):
        raise answer.error
    return answer


def look_for(part: Part) -> Found | Missing:
    """Like `find`, for callers that report what is missing rather than stop."""
    refusals = []
    for path, where in _places(part):
        answer = examine(part, path, where)
        if isinstance(answer, Found):
            return answer
        refusals.append(answer)
    return Missing(part, tuple(refusals))


def examine(part: Part, path: Path, where: str) -> Found | Refusal:
    """Whether the program at `path` will do for `part`."""
    path = path.absolute()
    if not path.is_file():
        return Refusal(path, where, "is not there.")
    if not os.access(path, os.X_OK):
        return Refusal(path, where, "may not be executed.")
    answer = _version_answer(path, tuple(part.version_args))
    asked = " ".join(part.version_args)
    if answer.problem:
        return Refusal(path, where, f"did not answer to {asked}: it {answer.problem}.")
    said = re.search(part.version_pattern, answer.output)
    if said is None:
        first = answer.output.strip().partition("\n")[0][:100]
        return Refusal(path, where, f"does not answer to {asked} like {part.name}: {first!r}.")
    version = said.group(1)
    if part.minimum and _too_old(version, part.minimum):
        reason = f"is too old: version {version}, and {part.minimum} is needed."
        return Refusal(path, where, reason, version)
    return Found(path, version, where)


def _version_answer(path: Path, args: tuple[str, ...]) -> Answer:
    """What the program says of its version. Asked once in a process for each file as it is: a run
    needs its parts several times over, and some programs take a tenth of a second to say it."""
    now = path.stat()
    asked = (path, args, now.st_ino, now.st_size, now.st_mtime_ns)
    if asked not in _said:
        answer = run_program([str(path), *args], timeout_s=VERSION_TIMEOUT_S)
        if answer.problem:
            return answer  # it may do better the next time
        _said[asked] = answer
    return _said[asked]


def _places(part: Part) -> Iterator[Place]:
    if part.variable and (named := os.environ.get(part.variable)):
        # Whoever names a program means that one: another one in its place would surprise.
        yield Path(named), f"${part.variable}"
        return
    on_path = shutil.which(part.executable, path=program_path())
    if on_path:
        yield Path(on_path), "PATH"
    yield from part.more_places()


def _too_old(version: str, minimum: str) -> bool:
    found = _numbers(version)
    # No number at all ("git", "devel") is a build from source: nobody can tell, so it may try.
    return bool(found) and found < _numbers(minimum)


def _numbers(version: str) -> tuple[int, ...]:
    leading = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(int(number) for number in leading.group(1).split(".")) if leading else ()
