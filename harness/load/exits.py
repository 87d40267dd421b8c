"""How k6 ended: its exit codes and its log, as errors that a person can act on."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from harness.errors import AbortedError, BrokenError, HarnessError, UsageError

STOPPED = 105
"""k6 ended because it was told to, which is how a load normally ends."""

THRESHOLDS = 99
MARKED_AS_FAILED = 110

_WRONG_CONFIG = 104
_SCRIPT_THREW = 107
_SCRIPT_ABORTED = 108

# k6's package errext/exitcodes, the same in 1.x and 2.x.
_WORDS = {
    0: "its scenarios were over",
    97: "the test in the cloud failed",
    98: "it got no progress from the cloud",
    THRESHOLDS: "thresholds have failed",
    100: "the script's setup() took too long",
    101: "the script's teardown() took too long",
    102: "something timed out",
    103: "it was stopped through its REST interface",
    _WRONG_CONFIG: "the script's options are wrong",
    STOPPED: "it was told to end by a signal",
    106: "it could not start its REST interface",
    _SCRIPT_THREW: "the script threw an exception",
    _SCRIPT_ABORTED: "the script called test.abort()",
    109: "k6 itself crashed",
    MARKED_AS_FAILED: "the script called test.fail()",
}

_LOADING = re.compile(r"could not initialize '[^']*': (could not load JS test '[^']*': )?")
_FRAME = re.compile(r"^\s*at (?:.*\()?(?P<place>file://\S+?:\d+:\d+)\(\d+\)\)?\s*$", re.MULTILINE)
_OWN_FRAME = re.compile(r"file://\S*/(prelude|entry)\.js:")
_FAILED_MARK = "test marked as failed"
_END_LINES = 200


@dataclass(frozen=True)
class Log:
    """What k6's log tells: how many iterations `thrown` an exception and the `first` of those, the
    reason of a test.fail() (None if there was none), and its `end`."""

    thrown: int = 0
    first: str = ""
    mark: str | None = None
    end: str = ""


def meaning(status: int | None) -> str:
    """The exit status of k6 in words."""
    if status is None:
        return "nobody knows how it ended"
    if status < 0:
        return f"it was killed by signal {-status}"
    return _WORDS.get(status, "it failed") + f" (exit code {status})"


def ending(script: str, status: int | None, log: str) -> HarnessError | None:
    """What it means that k6 ended by itself; None if that is no error: the script was over, with
    thresholds kept or not, or called test.fail(). `log` is the end of what k6 wrote."""
    errors = [line["msg"] for line in errors_in(log.splitlines())]
    last = errors[-1].strip() if errors else ""
    if status in (0, STOPPED, MARKED_AS_FAILED):
        return None
    if status == THRESHOLDS:
        aborted = next((one for one in errors if "abortOnFail" in one), None)
        if aborted is None:
            return None
        crossed = re.findall(r"'([^']+)'", aborted)
        names = ", ".join(name for one in crossed for name in judged_names(one))
        return AbortedError(
            f"A threshold of the load {script} stopped the run: {names}.", why=plain_name(aborted)
        )
    if status == _SCRIPT_ABORTED:
        return AbortedError(f"The load {script} stopped the run by test.abort().", why=reason(last))
    if status in (_WRONG_CONFIG, _SCRIPT_THREW):
        return bad_script(script, log, meaning(status))
    return BrokenError(
        f"k6 ended while the load {script} was needed: {meaning(status)}.",
        why=reason(last) or log[-500:],
        do="The whole log is logs/k6.log of the run.",
    )


def bad_script(script: str, log: str, otherwise: str) -> UsageError:
    """The error for a script that does not load, run or make sense: its place and k6's reason."""
    errors = [line["msg"] for line in errors_in(log.splitlines())]
    return UsageError(
        f"The k6 script {script} has an error.",
        why=reason(errors[-1]) if errors else log.strip()[-500:] or f"k6 {otherwise}.",
        do=f"`k6 run {script}` shows it by hand.",
    )


def reason(message: str) -> str:
    """k6's message cut to what was wrong, and where in the script that was (path:line:column)."""
    text = _LOADING.sub("", message).removeprefix("GoError: ")
    places = [frame["place"] for frame in _FRAME.finditer(text)]
    own = [place for place in places if not _OWN_FRAME.match(place)]
    what = _FRAME.sub("", text).strip()
    what = " ".join(part.strip(" \t-") for part in what.splitlines())
    what = what.replace("file://", "")
    return f"{what} ({own[0].removeprefix('file://')})" if own else what


def read_log(path: Path) -> Log:
    """What the log at `path` tells; nothing if there is none. Reads it whole: O(its size)."""
    thrown, mark, end = 0, None, deque[str](maxlen=_END_LINES)
    first = ""
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                end.append(line)
                for entry in errors_in([line]):
                    if entry.get("source") == "stacktrace" and "scenario" in entry:
                        thrown += 1
                        first = first or reason(entry["msg"])
                    elif entry["msg"].startswith(_FAILED_MARK):
                        mark = mark or entry["msg"].removeprefix(_FAILED_MARK).strip(" :")
    except FileNotFoundError:
        pass
    return Log(thrown, first, mark, "".join(end))


def errors_in(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The errors in k6's log (`--log-format json`), without what the script itself logged."""
    for line in lines:
        if '"error"' not in line:  # most lines are what the script logs: not worth parsing
            continue
        try:
            entry = orjson.loads(line)
        except ValueError:
            continue
        if not isinstance(entry, dict) or not isinstance(entry.get("msg"), str):
            continue
        if entry.get("level") == "error" and entry.get("source") != "console":
            yield entry


def judged_names(metrics: str) -> list[str]:
    """The metrics of a list in one of k6's messages, as the script calls them."""
    return [plain_name(one) for one in re.findall(r"[^,{]+(?:\{[^}]*\})?", metrics.strip())]


def plain_name(metric: str) -> str:
    """A metric as the script calls it: without the tag of the judged window."""
    return metric.strip().replace(",window:judged}", "}").replace("{window:judged}", "")
