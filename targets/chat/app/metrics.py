"""What the service measures beside the parts it is built on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from primitives.telemetry import Metrics
from prometheus_client import Counter, Gauge

_STATM: Final = Path("/proc/self/statm")
_PAGE: Final = 4096

DROPPABLE: Final = ("typing",)


class ChatMetrics:
    """In the registry of `metrics`, so that one page shows everything."""

    def __init__(self, metrics: Metrics) -> None:
        registry = self._registry = metrics.registry
        self.messages = Counter(
            "chat_messages", "Entries written, by whose they are.", ("of",), registry=registry
        )
        self.pushes = Counter(
            "chat_pushes", "Pushes of clients, by answer.", ("answer",), registry=registry
        )
        self.slow = Counter(
            "chat_slow_consumers", "Sockets closed because nobody read them.", registry=registry
        )
        self.silent = Counter(
            "chat_silent_sockets", "Sockets closed after the heartbeat's time.", registry=registry
        )
        self.dropped = Counter(
            "chat_dropped", "What was not told to a slow socket.", ("event",), registry=registry
        )
        self.held_back = Counter(
            "chat_held_back", "Entries that waited for others before them.", registry=registry
        )
        self.fetched = Counter(
            "chat_fetched", "Entries that were missed and fetched.", registry=registry
        )
        for of in ("own", "others"):
            self.messages.labels(of)
        for answer in ("ok", "error"):
            self.pushes.labels(answer)
        for event in DROPPABLE:
            self.dropped.labels(event)

    def watch(
        self,
        *,
        sockets: Callable[[], float],
        outgoing_bytes: Callable[[], float],
        streams: Callable[[], float],
    ) -> None:
        """Have these shown as well. They are asked for when the page is."""
        for name, help_, value in (
            ("chat_sockets", "Open sockets.", sockets),
            ("chat_outgoing_bytes", "Bytes queued for all sockets.", outgoing_bytes),
            ("chat_streams_running", "Answers that have not ended.", streams),
            ("chat_resident_bytes", "Memory of the process.", resident_bytes),
        ):
            Gauge(name, help_, registry=self._registry).set_function(value)


def resident_bytes() -> float:
    """Of this process; 0 where the system does not say."""
    try:
        return int(_STATM.read_text().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0.0
