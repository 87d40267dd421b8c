"""Chaos and resilience testing for distributed systems, in pytest.

    from harness import experiment, faults, seconds

Names are imported when they are first used, so that pytest starts as fast as without the plugin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness import faults, probes
    from harness.compose import compose_target
    from harness.container import Image, Limits
    from harness.declare import experiment
    from harness.load import k6
    from harness.parts import Part
    from harness.probes import Look, probe, stop_after, stop_when
    from harness.target import Node, Target
    from harness.units import milliseconds, minutes, seconds, share
    from harness.workload import Client, Refused, Request, Unavailable, Workload, registers, sets

__all__ = [
    "Client",
    "Image",
    "Limits",
    "Look",
    "Node",
    "Part",
    "Refused",
    "Request",
    "Target",
    "Unavailable",
    "Workload",
    "compose_target",
    "experiment",
    "faults",
    "k6",
    "milliseconds",
    "minutes",
    "probe",
    "probes",
    "registers",
    "seconds",
    "sets",
    "share",
    "stop_after",
    "stop_when",
]

_HOMES = {
    "compose_target": "harness.compose",
    **dict.fromkeys(("Image", "Limits"), "harness.container"),
    "experiment": "harness.declare",
    "k6": "harness.load",
    "Part": "harness.parts",
    **dict.fromkeys(("Look", "probe", "stop_after", "stop_when"), "harness.probes"),
    "Node": "harness.target",
    "Target": "harness.target",
    "milliseconds": "harness.units",
    "minutes": "harness.units",
    "seconds": "harness.units",
    "share": "harness.units",
    **dict.fromkeys(
        ("Client", "Refused", "Request", "Unavailable", "Workload", "registers", "sets"),
        "harness.workload",
    ),
}


def __getattr__(name: str) -> object:
    import importlib

    if name in ("faults", "probes"):
        return importlib.import_module(f"harness.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
