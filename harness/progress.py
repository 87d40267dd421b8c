"""A run in the terminal, while it runs. Listens to the journal; keeps no books of its own."""

from __future__ import annotations

import contextlib
import queue
from typing import TYPE_CHECKING, Any

from harness.record.journal import Event

if TYPE_CHECKING:
    from _pytest.capture import CaptureManager
    from _pytest.terminal import TerminalReporter

_PHASES = {
    "up": "starting the cluster",
    "before": "steady state",
    "during": "faults",
    "after": "healed, waiting for every node to answer",
    "final": "final reads",
    "down": "ending the cluster",
}


class Progress:
    """`hear` is called in the engine's thread, `show` in pytest's: a queue lies between them."""

    def __init__(self, reporter: TerminalReporter, capture: CaptureManager | None) -> None:
        self._reporter = reporter
        self._capture = capture
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._terminal = reporter.isatty
        self._line_open = False
        self._begun = False
        self._example = False

    def hear(self, event: Event) -> None:
        """Take an event; it is shown by the next `show`."""
        self._events.put(event)

    def show(self) -> None:
        """Write what was heard since the last time."""
        if self._events.empty():
            return
        paused: Any = (
            self._capture.global_and_fixture_disabled()
            if self._capture is not None
            else contextlib.nullcontext()
        )
        with paused:
            while not self._events.empty():
                self._write(self._events.get())

    def clear(self) -> None:
        """End the line that is written over."""
        if self._line_open:
            self._reporter.rewrite("", erase=True)
            self._line_open = False

    def _write(self, event: Event) -> None:
        if event.name == "progress":
            if self._terminal:
                self._reporter.rewrite(f"  {event.at_s:6.1f} s  {_status(event)}", erase=True)
                self._line_open = True
            return
        if event.name == "phase":
            self._example = "example" in event.data
        # Of the examples of a machine a note each is enough.
        text = None if self._example and _is_a_step(event) else _told(event)
        if text is None:
            return
        self.clear()
        if not self._begun:
            self._reporter.ensure_newline()
            self._begun = True
        self._reporter.write_line(f"  {event.at_s:6.1f} s  {text}")


def _status(event: Event) -> str:
    data = event.data
    faults = ", ".join(data["faults"]) or "no fault in force"
    return (
        f"{data['phase']}: {faults} | {data['ops_per_s']} ops/s, "
        f"{data['ok']} ok, {data['fail']} fail, {data['info']} info"
    )


def _is_a_step(event: Event) -> bool:
    return event.name == "phase" or (event.name == "fault" and event.data["step"] != "failed")


def _told(event: Event) -> str | None:
    data = event.data
    if event.name == "run":
        return f"{data['experiment'].rpartition('::')[2]}, seed {data['seed']}"
    if event.name == "phase":
        return _PHASES[data["phase"]]
    if event.name == "node" and data["step"] == "exited":
        return f"{data['node']} exited by itself with status {data['status']}"
    if event.name == "note":
        if "what" in data:
            return str(data["what"])
        return f"{data['outcome']}: {data['reason'].splitlines()[0]}"
    if event.name != "fault":
        return None
    step, id = data["step"], data["id"]
    if step == "asked":
        return f"{id} {data['what']} …"
    if step == "injected":
        nodes = ", ".join(data["nodes"])
        return f"{id} in force on {nodes}"
    if step == "healed":
        return f"{id} healed"
    if step == "failed":
        return f"{id} failed: {data['error'].splitlines()[0]}"
    return None
