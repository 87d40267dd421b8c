"""Faults of jobs alone: how they stand in a plan, and when they strike."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from harness import share
from harness.faults import Fault, Members
from harness.faults._base import from_json
from targets.jobs import Jobs
from targets.jobs import faults as own
from targets.jobs.faults import AHEAD_S, EdgeFault, deploy, edge_kill, edge_pause
from tests.support.virtual_time import run_virtually

MEMBERS = Members.of(Jobs())


def occurrences(fault: Fault, duration_s: float = 10.0) -> list[Any]:
    return fault.occurrences(random.Random(1), MEMBERS, duration_s, 1.0)


@pytest.mark.parametrize(
    ("fault", "kind", "fields"),
    [
        (deploy("green", at=share(0.5)), "deploy", {"to": "green"}),
        (
            edge_kill(window=2, restart_after=3, every=5),
            "edge-kill",
            {"who": "cron-leader", "window_s": 2.0},
        ),
        (
            edge_pause(window=2, lasting=3, every=5),
            "edge-pause",
            {"who": "cron-leader", "window_s": 2.0},
        ),
    ],
)
def test_a_plan_holds_all_there_is_to_them(fault: Fault, kind: str, fields: dict[str, Any]) -> None:
    (planned, *_others) = occurrences(fault)
    assert planned.fault.kind == kind
    assert planned.fault.to_json() == fields
    assert from_json(kind, fields) == planned.fault


def test_a_role_may_be_held_by_a_dependency() -> None:
    assert "cron-leader" in MEMBERS.roles
    assert "worker-1" in MEMBERS.dependencies
    assert MEMBERS.expanded(["workers"]) == ("worker-1", "worker-2", "worker-3")


@dataclass(frozen=True)
class Strike(EdgeFault):
    """Only takes down when it struck."""

    struck: list[float] = field(default_factory=list)

    @property
    def plain(self) -> Any:
        fault = self

        class Plain:
            async def inject(self, _site: Any) -> None:
                fault.struck.append(asyncio.get_running_loop().time())

        return Plain()


@pytest.mark.parametrize("now_s", [100.0, 100.5, 101.95, 101.999])
def test_it_strikes_just_before_a_window_begins(
    monkeypatch: pytest.MonkeyPatch, now_s: float
) -> None:
    monkeypatch.setattr(own, "time", SimpleNamespace(time=lambda: now_s))
    strike = Strike(who="cron-leader", window_s=2.0)
    run_virtually(strike.inject(None))  # type: ignore[arg-type]
    (after_s,) = strike.struck
    windows = (now_s + after_s + AHEAD_S) / 2.0
    assert windows == pytest.approx(round(windows), abs=1e-6)
    assert 0 < after_s <= 2.0
