"""The log lines of each node around a moment, where its lines say when they were written."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import orjson

from harness.report.reading import Reading

READ_BYTES = 8 << 20
"""Of longer logs only the end is read."""

MAX_LINE = 300

_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?\s?(Z|UTC|[+-]\d\d:?\d\d)?"
)
_REDIS = re.compile(r"(\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d)\.(\d{3})")
_NUMBER = re.compile(r'"(?:at|ts|time|timestamp)"\s?:\s?(\d{1,13}(?:\.\d+)?)\b')

_SEARCHED = 120  # characters of a line in which its time is looked for
_SECOND_2001 = 10**9


@dataclass
class Log:
    """The lines of one log with the second (since the run's start) each was written at: that of the
    line before for lines that do not say. `timed` is False if no line says."""

    path: Path
    lines: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    timed: bool = False
    cut: bool = False

    def around(self, start: float, end: float) -> list[tuple[float, str]]:
        """The lines from `start` to `end`."""
        first, last = bisect_left(self.times, start), bisect_left(self.times, end)
        return list(zip(self.times[first:last], self.lines[first:last], strict=True))


def read_log(path: Path, found: Reading) -> Log:
    """The log at `path`; an empty one if there is none. O(bytes), of at most READ_BYTES."""
    log = Log(path)
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            log.cut = size > READ_BYTES
            file.seek(max(0, size - READ_BYTES))
            data = file.read(READ_BYTES)
    except OSError:
        return log
    log.lines = data.decode(errors="replace").splitlines()[1 if log.cut else 0 :]
    clock = _Clock(found, _anchor(log.lines, path.stem, found))
    latest = float("-inf")
    for line in log.lines:
        second = clock.second(line)
        if second is not None:
            log.timed = True
            latest = max(latest, second)
        log.times.append(latest)
    return log


class _Clock:
    """Tells when a line was written, in seconds since the run's start."""

    def __init__(self, found: Reading, monotonic_s: float | None) -> None:
        self._unix_s = found.unix_ns / 1e9 if found.unix_ns else None
        self._monotonic_s = monotonic_s
        self._seconds: dict[str, float] = {}

    def second(self, line: str) -> float | None:
        start = line[:_SEARCHED]
        told = _ISO.search(start)
        if told is not None:
            return self._of_day(told[1], told[2], told[3])
        told = _REDIS.search(start)
        if told is not None:
            return self._of_day(told[1], told[2], None)
        told = _NUMBER.search(start)
        if told is None:
            return None
        value = float(told[1])
        if value < _SECOND_2001:
            return None if self._monotonic_s is None else value - self._monotonic_s
        if value > 1000 * _SECOND_2001:
            value /= 1000
        return None if self._unix_s is None else value - self._unix_s

    def _of_day(self, second: str, fraction: str | None, zone: str | None) -> float | None:
        if self._unix_s is None:
            return None
        key = f"{second}{zone}"
        if key not in self._seconds:
            self._seconds[key] = _unix(second, zone)
        return self._seconds[key] + float(f"0.{fraction or 0}") - self._unix_s


def _unix(second: str, zone: str | None) -> float:
    try:
        if "-" in second:
            told = datetime.fromisoformat(second + ("" if zone in (None, "UTC") else str(zone)))
        else:
            told = datetime.strptime(second, "%d %b %Y %H:%M:%S")
    except ValueError:
        return float("nan")
    # A log that does not say in which zone: nodes run on UTC here as everywhere in the harness.
    return (told if told.tzinfo is not None else told.replace(tzinfo=UTC)).timestamp()


def _anchor(lines: list[str], node: str, found: Reading) -> float | None:
    """The run's start on the machine's monotonic clock. Where nobody recorded it: from the first
    line of the node that `events.jsonl` repeats with the moment it stands for."""
    if found.monotonic_ns is not None:
        return found.monotonic_ns / 1e9
    first = next((one for one in found.told if one.get("node") == node), None)
    if first is None:
        return None
    for line in lines[:2000]:
        told = _NUMBER.search(line[:_SEARCHED])
        if told is None or float(told[1]) >= _SECOND_2001:
            continue
        try:
            data = orjson.loads(line)
        except ValueError:
            continue
        if isinstance(data, dict) and data.get("event") == first.get("event"):
            return float(told[1]) - float(first["time"]) / 1e9
    return None
