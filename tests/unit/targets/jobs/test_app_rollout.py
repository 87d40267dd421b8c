"""A switch between colours: gated, watched, taken back, on record."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from targets.jobs.app import rollout
from targets.jobs.app.accounts import RefusedError
from targets.jobs.app.logs import Log
from targets.jobs.app.rollout import CHECKS, Outcome, Rollout

COLOURS = ("blue", "green")


class Upstream:
    """Two colours. `wrong` is what a health check says; of `bad` the requests fail."""

    def __init__(self) -> None:
        self.wrong: dict[str, str] = {}
        self.bad: set[str] = set()
        self.audited: list[tuple[str, str, str, str]] = []
        self.refuses_audit: set[str] = set()
        self.checks = 0
        self.pause = asyncio.Event()
        self.pause.set()
        self.rollout: Rollout | None = None

    async def healthy(self, colour: str) -> str | None:
        self.checks += 1
        await self.pause.wait()
        return self.wrong.get(colour)

    async def ordinary(self, colour: str) -> None:
        assert self.rollout is not None
        self.rollout.ended(colour, colour not in self.bad)

    async def audit(self, colour: str, action: str, before: str, to: str, reason: str) -> bool:
        if colour in self.refuses_audit:
            return False
        self.audited.append((colour, action, before, to))
        return True


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "CHECK_PAUSE_S", 0.0)


def make(tmp_path: Path, upstream: Upstream, **options: Any) -> Rollout:
    clock = asyncio.get_running_loop().time
    log = Log("gate", "gate", clock, lambda line: None)
    path = tmp_path / "active.json"
    made = Rollout(COLOURS, upstream, path, 0.01, clock, log, **options)
    upstream.rollout = made
    return made


def switch(tmp_path: Path, upstream: Upstream, to: str = "green", **options: Any) -> Outcome:
    async def work() -> Outcome:
        made = make(tmp_path, upstream, **options)
        outcome = await made.switch(to)
        assert made.active == ("green" if outcome.switched and to == "green" else "blue")
        # What a gate that is started again believes.
        assert make(tmp_path, upstream).active == made.active
        return outcome

    return asyncio.run(work())


def test_a_healthy_colour_becomes_active(tmp_path: Path) -> None:
    upstream = Upstream()
    outcome = switch(tmp_path, upstream)
    assert outcome.switched
    assert outcome.requests > 0
    assert outcome.errors == 0
    assert upstream.checks == CHECKS
    assert upstream.audited == [("green", "switched", "blue", "green")]


def test_one_that_fails_a_check_is_refused_and_that_is_on_record(tmp_path: Path) -> None:
    upstream = Upstream()
    upstream.wrong["green"] = "/ready answers 503"
    outcome = switch(tmp_path, upstream)
    assert not outcome.switched
    assert not outcome.rolled_back
    assert "/ready answers 503" in outcome.reason
    assert upstream.audited == [("blue", "refused", "blue", "green")]


def test_one_whose_requests_fail_is_taken_back(tmp_path: Path) -> None:
    upstream = Upstream()
    upstream.bad.add("green")
    outcome = switch(tmp_path, upstream)
    assert outcome.rolled_back
    assert outcome.errors == rollout.FORGIVEN + 1
    assert [action for _, action, _, _ in upstream.audited] == ["switched", "rolled-back"]


def test_what_cannot_be_put_on_record_is_not_done(tmp_path: Path) -> None:
    upstream = Upstream()
    upstream.refuses_audit.add("green")
    outcome = switch(tmp_path, upstream)
    assert not outcome.switched
    assert "audit" in outcome.reason


def test_the_active_colour_is_no_switch(tmp_path: Path) -> None:
    upstream = Upstream()
    assert switch(tmp_path, upstream, to="blue").switched
    assert upstream.checks == 0


def test_the_mutant_switches_to_whatever_it_is_told_to(tmp_path: Path) -> None:
    upstream = Upstream()
    upstream.wrong["green"] = "it is not even there"
    assert switch(tmp_path, upstream, careless=True).switched


def test_there_is_one_switch_at_a_time_and_only_to_colours(tmp_path: Path) -> None:
    async def work() -> None:
        upstream = Upstream()
        upstream.pause.clear()
        made = make(tmp_path, upstream)
        first = asyncio.create_task(made.switch("green"))
        await asyncio.sleep(0)
        with pytest.raises(RefusedError, match="under way"):
            await made.switch("green")
        with pytest.raises(RefusedError, match="no colour red"):
            await made.switch("red")
        upstream.pause.set()
        assert (await first).switched

    asyncio.run(work())


def test_a_file_that_makes_no_sense_means_the_first_colour(tmp_path: Path) -> None:
    (tmp_path / "active.json").write_text("[]")

    async def work() -> None:
        assert make(tmp_path, Upstream()).active == "blue"

    asyncio.run(work())
