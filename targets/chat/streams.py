"""Every answer of the assistant comes to an end that everybody is told of."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from harness.check import Verdict
from harness.history import History, Op
from harness.units import Duration, seconds, to_seconds

_SHOWN = 5
_ENDS = ("complete", "error")

Problem: TypeAlias = tuple[str, str]
"""Which anomaly, and a sentence."""


@dataclass(frozen=True)
class Streams:
    """The check that `streams` makes."""

    lasting_s: float
    cut: int

    @property
    def name(self) -> str:
        return f"streams(cut>={self.cut})"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        accepted = [op for op in history.ops if op.f == "ask" and op.outcome == "ok"]
        heard = _last(history)
        states = Counter(state for op in heard for _stream, state in op.result)
        cut = sum(_was_cut(history, op, self.lasting_s) for op in accepted)
        problems = [problem for op in heard for problem in _problems(op, accepted)]
        kinds = Counter(kind for kind, _sentence in problems)
        told = (
            f"{len(accepted)} streams accepted, {cut} of them cut; what {len(heard)} members have "
            f"of them: {', '.join(f'{n} {state}' for state, n in sorted(states.items()))}"
        )
        unknown = None
        if not accepted or not heard:
            unknown = "Nothing was tested: no stream was accepted, or no member said what it has."
        elif not states["complete"]:
            unknown = f"Nothing was tested: no stream came to its good end ({told})."
        elif cut < self.cut:
            unknown = f"Too little was tested: {self.cut} streams are to be cut ({told})."
        if problems:
            summary = f"{problems[0][1]} ({told})."
        else:
            summary = unknown or f"Every stream ended: {told}."
        return Verdict(
            self.name,
            "invalid" if problems else "unknown" if unknown else "valid",
            summary,
            evidence="\n".join(sentence for _kind, sentence in problems[:_SHOWN]),
            anomaly=problems[0][0] if problems else None,
            ops=len(accepted) + len(heard),
            seconds=time.monotonic() - began,
            data={
                "accepted": len(accepted),
                "cut": cut,
                "states": dict(states),
                **kinds,
                "anomalies": list(kinds),
            },
        )


def streams(*, lasting: Duration = seconds(0.5), cut: int = 1) -> Streams:
    """Check that each stream that was accepted ended at every member of its room: complete (its
    text is the one of which its end gives the hash) or with an error.

    Ops: `ask` (key: the room; answers with the stream) and the final op `streams` (key: the room;
    value: the member; answers with stream and state of each, see `targets.chat.streamed.State`).
    At least `cut` streams must have been under way when a fault hit the node that they were asked
    of: those accepted at most `lasting` before it.

    Anomalies: `short`, a member has a part of a stream and was not told that it ended, or was told
    that it is whole; `unheard`, a member knows nothing of one that was accepted. `unknown`: nothing
    was accepted or heard, no stream is complete, or fewer than `cut` were cut. Raises `UsageError`
    for a wrong duration. O(n).
    """
    return Streams(to_seconds(lasting, "streams: lasting", allow_zero=True), cut)


def _last(history: History) -> Sequence[Op]:
    """The last final answer of each member of each room."""
    last: dict[tuple[Hashable, Hashable], Op] = {}
    for op in history.ops:
        if op.final and op.f == "streams" and op.outcome == "ok":
            last[op.key, op.value] = op
    return list(last.values())


def _was_cut(history: History, ask: Op, lasting_s: float) -> bool:
    """Whether a fault hit its node while it answered."""
    assert ask.end is not None
    over = ask.end + round(lasting_s * 1e9)
    return any(
        ask.node in fault.nodes and ask.start <= fault.start <= over
        for fault in history.timeline.faults
    )


def _problems(heard: Op, accepted: Sequence[Op]) -> Iterator[Problem]:
    states: Mapping[str, str] = dict(heard.result)
    who = f"{heard.value} in {heard.key} on {heard.node}"
    for stream, state in states.items():
        if state not in _ENDS:
            yield "short", f"Stream {stream} is {state!r} for {who} in the end"
    for op in accepted:
        if op.key == heard.key and op.result not in states:
            yield "unheard", f"Stream {op.result}, asked of {op.node}, never came to {who}"
