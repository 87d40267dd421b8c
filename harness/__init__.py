"""Chaos and resilience testing for distributed systems, in pytest.

    from harness import experiment, faults, seconds

Names are imported when they are first used, so that pytest starts as fast as without the plugin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness import faults
    from harness.declare import experiment
    from harness.parts import Part
    from harness.target import Node, Target
    from harness.units import milliseconds, minutes, seconds
    from harness.workload import Client, Refused, Request, Unavailable, Workload, registers

__all__ = [
    "Client",
    "Node",
    "Part",
    "Refused",
    "Request",
    "Target",
    "Unavailable",
    "Workload",
    "experiment",
    "faults",
    "milliseconds",
    "minutes",
    "registers",
    "seconds",
]

_HOMES = {
    "experiment": "harness.declare",
    "Part": "harness.parts",
    "Node": "harness.target",
    "Target": "harness.target",
    "milliseconds": "harness.units",
    "minutes": "harness.units",
    "seconds": "harness.units",
    **dict.fromkeys(
        ("Client", "Refused", "Request", "Unavailable", "Workload", "registers"),
        "harness.workload",
    ),
}


def __getattr__(name: str) -> object:
    import importlib

    if name == "faults":
        return importlib.import_module("harness.faults")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
