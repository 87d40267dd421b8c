"""The small languages of compose files: durations, sizes, commands, ports, pairs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from harness.compose.places import At

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.I)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}

_PORT = re.compile(
    r"(?:(?P<host>.*):)?(?P<low>\d+)(?:-(?P<high>\d+))?(?:/(?P<protocol>[a-z]+))?", re.S
)


def duration_s(at: At) -> float:
    """`1m30s` in seconds."""
    said = at.text()
    if said == "0":
        return 0.0
    if not _DURATION.fullmatch(said):
        raise at.wrong("a duration with its unit, such as 1m30s or 500ms")
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(said))


def size_bytes(at: At) -> int:
    """`512m` in bytes; a plain number is bytes."""
    match = _SIZE.fullmatch(at.text().strip())
    if match is None:
        raise at.wrong("a size such as 512m or 2g")
    return int(float(match[1]) * 1024 ** _POWERS[match[2].lower()])


def words(at: At) -> tuple[str, ...]:
    """A command: a list as it is, a text split as a shell would, without being given to one."""
    if isinstance(at.value, list):
        return tuple(item.text() for item in at)
    try:
        return tuple(shlex.split(at.text()))
    except ValueError as error:
        raise at.wrong(f"a command ({error})") from None


def texts(at: At) -> tuple[str, ...]:
    """One text or a list of them."""
    if isinstance(at.value, list):
        return tuple(item.text() for item in at)
    return () if at.missing else (at.text(),)


def pairs(at: At) -> dict[str, At]:
    """A mapping, or a list of `name=value`; None where only a name is given."""
    if not isinstance(at.value, list):
        return at.entries()
    found = {}
    for item in at:
        name, sign, value = item.text().partition("=")
        found[name] = At(item.place, value if sign else None, at.notes)
    return found


def environment(at: At, values: Mapping[str, str]) -> dict[str, str]:
    """The variables of `environment` or of a build's `args`: a name alone takes its value from
    `values`, and is left out if it has none there."""
    found = {}
    for name, entry in pairs(at).items():
        if not entry.missing:
            found[name] = entry.text()
        elif name in values:
            found[name] = values[name]
    return found


def ports(at: At) -> set[int]:
    """The TCP ports of the container that an entry of `ports` or `expose` means. Those of other
    protocols are noted, because Toxiproxy links TCP only."""
    if isinstance(at.value, dict):
        entries = at.entries()
        target = entries.get("target")
        if target is None:
            raise at.wrong("a port with its `target`")
        protocol = entries["protocol"].text() if "protocol" in entries else "tcp"
        low, high = _range(target, target.text())
    else:
        match = _PORT.fullmatch(at.text())
        if match is None:
            raise at.wrong('a port such as "8080:80"')
        protocol = match["protocol"] or "tcp"
        low, high = _range(at, match["low"] + (f"-{match['high']}" if match["high"] else ""))
    if protocol != "tcp":
        at.ignore(f"{protocol} is not linked: it passes the links by, and faults do not reach it")
        return set()
    return set(range(low, high + 1))


def _range(at: At, said: str) -> tuple[int, int]:
    first, _, last = said.partition("-")
    try:
        low, high = int(first), int(last or first)
    except ValueError:
        raise at.wrong("a port") from None
    if not 1 <= low <= high <= 65535:
        raise at.wrong("a port from 1 to 65535")
    return low, high
