"""When each fault was in force, for checks that ask what else happened then."""

from __future__ import annotations

from dataclasses import dataclass

from harness.record.journal import Event
from harness.timeline import FaultSpan


@dataclass
class _Fault:
    kind: str
    what: str
    nodes: tuple[str, ...] = ()
    start: int | None = None
    end: int | None = None


class FaultSpans:
    """Listens to the journal and keeps the faults that landed."""

    def __init__(self) -> None:
        self._faults: dict[str, _Fault] = {}

    def hear(self, event: Event) -> None:
        """Take an event of the journal."""
        if event.name != "fault":
            return
        data, step = event.data, event.data["step"]
        if step == "asked":
            self._faults[data["id"]] = _Fault(data["kind"], data["what"])
        elif step == "injected":
            fault = self._faults[data["id"]]
            fault.nodes, fault.start = tuple(data["nodes"]), event.time
        elif step in ("healing", "failed", "undone"):
            fault = self._faults[data["id"]]
            fault.end = event.time if fault.end is None else fault.end

    def until(self, now: int) -> list[FaultSpan]:
        """The faults that landed, by their beginning; those still in force end `now`."""
        found = [
            FaultSpan(id, one.kind, one.what, one.nodes, one.start, one.end or now)
            for id, one in self._faults.items()
            if one.start is not None
        ]
        return sorted(found, key=lambda span: span.start)
