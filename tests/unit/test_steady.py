"""The steady state is waited for, and stop conditions end a run."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import milliseconds, probe, probes, seconds, stop_after, stop_when
from harness.errors import AbortedError, UsageError
from harness.history import MISMATCH, Op, Phase
from harness.probes import Look, Probe
from harness.steady import Kept, Watch, kept
from harness.timeline import Measurement
from tests.support.virtual_time import run_virtually


def now() -> int:
    return round(asyncio.get_running_loop().time() * 1e9)


class Given:
    """A probe whose value a test sets."""

    def __init__(self, value: Any = 0.0, **tolerance: float) -> None:
        self.value = value
        self.probe = probe("given", self.measure, **(tolerance or {"at_most": 1}))

    async def measure(self, _: Look) -> Any:
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


def watched(
    tmp_path: Path,
    work: Callable[[Watch], Awaitable[Any]],
    *steady: Probe,
    run: Callable[[Any], Any] = run_virtually,
    **more: Any,
) -> Any:
    """What `work` gives while a watch runs beside it; the first failure of either is raised.

    In virtual time: probes must be coroutines, as a thread would be waited for in vain.
    """

    async def main() -> Any:
        look: Any = None
        path = tmp_path / "measurements.jsonl"
        watch = Watch(look, now, path, steady_state=steady, stop=more.pop("stop", ()), **more)
        running = asyncio.create_task(watch.run())
        working = asyncio.ensure_future(work(watch))
        try:
            async with asyncio.timeout(10):
                await asyncio.wait({running, working}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
            return working.result()
        finally:
            running.cancel()
            working.cancel()
            await asyncio.gather(running, working, return_exceptions=True)

    return run(main())


async def for_ever(_: Watch) -> None:
    await asyncio.Event().wait()


def test_a_state_that_is_steady_is_found_so(tmp_path: Path) -> None:
    given = Given(0.5)
    assert watched(tmp_path, lambda watch: watch.steady_since(now(), 5), given.probe) == []
    line = json.loads((tmp_path / "measurements.jsonl").read_text().splitlines()[0])
    assert (line["probe"], line["value"], line["within"]) == ("given", 0.5, True)


def test_what_is_out_of_its_tolerance_is_told_with_its_value(tmp_path: Path) -> None:
    given, fine = Given(2.5), probe("fine", Given(1).measure)
    wrong = watched(tmp_path, lambda watch: watch.steady_since(now(), 0.5), given.probe, fine)
    assert wrong == ["given was 2.5 (at most 1 is demanded)"]


def test_only_what_was_measured_after_the_moment_counts(tmp_path: Path) -> None:
    given = Given(0.5)

    async def work(watch: Watch) -> list[str]:
        await watch.steady_since(now(), 5)
        given.value = 3
        await asyncio.sleep(0.01)
        return await watch.steady_since(now(), 0.7)

    assert watched(tmp_path, work, given.probe) == ["given was 3 (at most 1 is demanded)"]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "given had nothing to measure (at most 1 is demanded)"),
        (ValueError("no"), "given could not be measured (ValueError: no) (at most 1 is demanded)"),
    ],
)
def test_nothing_measured_is_not_steady(tmp_path: Path, value: Any, told: str) -> None:
    given = Given(value)
    wrong = watched(tmp_path, lambda watch: watch.steady_since(now(), 0.5), given.probe)
    assert wrong == [told]


def test_where_ops_are_sparse_nothing_to_measure_is_nothing_wrong(tmp_path: Path) -> None:
    quiet, broken = Given(None), probe("broken", Given(ValueError("no")).measure)
    work = lambda watch: watch.steady_since(now(), 0.5)  # noqa: E731
    assert watched(tmp_path, work, quiet.probe, sparse=True) == []
    (wrong,) = watched(tmp_path, work, quiet.probe, broken, sparse=True)
    assert wrong.startswith("broken could not be measured")


def test_a_probe_that_hangs_is_out_of_tolerance(tmp_path: Path) -> None:
    async def hang(_: Look) -> None:
        await asyncio.Event().wait()

    slow = probe("slow", hang)
    (wrong,) = watched(tmp_path, lambda watch: watch.steady_since(now(), 1.8), slow)
    assert wrong.startswith("slow could not be measured (TimeoutError)")


def test_a_plain_function_is_measured_in_a_thread(tmp_path: Path) -> None:
    met: list[str] = []
    fine = probe("fine", lambda _: met.append(threading.current_thread().name) or True)
    wrong = watched(tmp_path, lambda watch: watch.steady_since(now(), 5), fine, run=asyncio.run)
    assert wrong == []
    assert met and threading.main_thread().name not in met


def test_a_bug_in_a_probe_ends_the_run(tmp_path: Path) -> None:
    wrong = probe("wrong", lambda look: look.absent)
    with pytest.raises(UsageError, match=r"The probe wrong failed.*\n.*absent"):
        watched(tmp_path, for_ever, wrong, run=asyncio.run)


def test_a_stop_condition_ends_the_run_only_if_it_lasts(tmp_path: Path) -> None:
    given = Given(9)
    condition = stop_when(given.probe, lasting=seconds(0.5))
    with pytest.raises(AbortedError, match="given was 9, and had been out of bounds for 0"):
        watched(tmp_path, for_ever, stop=[condition])

    async def blips(watch: Watch) -> str:
        for number in range(6):
            seen = len(watch.measurements)
            given.value = 9 if number % 2 else 0
            while len(watch.measurements) == seen:
                await asyncio.sleep(0.01)
        return "went on"

    given.value = 0
    assert watched(tmp_path, blips, stop=[condition]) == "went on"


def test_nothing_to_measure_does_not_stop_a_run_but_a_failing_probe_does(tmp_path: Path) -> None:
    given = Given(None)

    async def a_second(watch: Watch) -> str:
        while len(watch.measurements) < 5:
            await asyncio.sleep(0.01)
        return "went on"

    condition = stop_when(given.probe, lasting=milliseconds(1))
    assert watched(tmp_path, a_second, stop=[condition]) == "went on"
    given.value = OSError("gone")
    with pytest.raises(AbortedError, match="could not be measured"):
        watched(tmp_path, for_ever, stop=[condition])


def test_the_wall_clock_and_a_person_stop_a_run(tmp_path: Path) -> None:
    with pytest.raises(AbortedError, match=r"it took longer than 0\.3 s"):
        watched(tmp_path, for_ever, stop=[stop_after(seconds(0.3))])
    with pytest.raises(AbortedError, match="q was pressed"):
        watched(tmp_path, for_ever, asked_to_stop=lambda: "q was pressed")


def op(f: str, start_s: float, took_s: float | None, outcome: str, error: str | None) -> Op:
    start = round(start_s * 1e9)
    end = None if took_s is None else start + round(took_s * 1e9)
    return Op(0, f, "k", None, outcome, None, start, end, 0, None, "node-1", error)  # type: ignore[arg-type]


def looking_at(*ops: tuple[float, Op], now_s: float = 10.0) -> Look:
    """Ops with the moment at which they ended, in seconds."""
    recent = [(round(ended_s * 1e9), one) for ended_s, one in ops]
    recorder = SimpleNamespace(recent=recent, now=lambda: round(now_s * 1e9))
    return Look(SimpleNamespace(names=("node-1",)), recorder)  # type: ignore[arg-type]


def test_the_error_rate_counts_what_was_not_answered_of_late() -> None:
    measure = probes.error_rate(at_most=0.1).measure
    long_ago = (1.1, op("read", 1.0, 0.1, "fail", "unavailable"))
    found = measure(
        looking_at(
            long_ago,
            (9.2, op("read", 9.1, 0.1, "ok", None)),
            (9.3, op("cas", 9.2, 0.1, "fail", MISMATCH)),
            (9.4, op("write", 9.3, 0.1, "fail", "unavailable")),
            (9.5, op("write", 4.5, None, "info", "timeout")),
        )
    )
    assert found == 0.5
    assert measure(looking_at(long_ago)) is None


def test_the_latency_is_that_of_the_answered_ops() -> None:
    ops = [(9.5, op("read", 9.1, n / 100, "ok", None)) for n in range(1, 11)]
    write = (9.6, op("write", 4.6, 5.0, "ok", None))
    look = looking_at(*ops, write, (9.6, op("read", 0.6, 9, "fail", "x")))
    assert probes.latency(p50=milliseconds(50), f="read").measure(look) == pytest.approx(0.05)
    assert probes.latency(p99=seconds(1)).measure(look) == pytest.approx(5.0)
    assert probes.latency(p99=seconds(1)).at_most == 1.0


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(UsageError, match="exactly one"):
        probes.latency()
    with pytest.raises(UsageError, match="no function"):
        probe("x", 3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="is no probe"):
        stop_when("x")  # type: ignore[arg-type]
    assert probe("ok", lambda _: True).tolerance == "at least 1"
    assert probe("x", lambda _: 1, at_least=1, at_most=3).tolerance == "at least 1 and at most 3"


def test_what_a_probe_met_in_each_phase() -> None:
    phases = [Phase("before", 0, 10), Phase("during", 10, 30)]
    measurements = [
        Measurement(5, "rate", 0.0, True),
        Measurement(12, "rate", 0.8, False),
        Measurement(20, "rate", None, False, "gone"),
        Measurement(25, "rate", 0.01, True),
        Measurement(31, "rate", 0.9, False),
        Measurement(6, "stop: rate", 0.9, False),
    ]
    found = kept(measurements, phases)
    assert found["rate"]["before"] == Kept(1, 0.0, 0.0, 1.0)
    assert found["rate"]["during"] == Kept(3, 0.01, 0.8, 0.3333)
    assert list(found) == ["rate"]
    assert kept([], phases) == {}


def test_a_probe_with_two_tolerances_is_two(tmp_path: Path) -> None:
    given = Given(2)
    wide = probe("given", given.measure, at_most=9)

    async def work(watch: Watch) -> set[tuple[str, bool]]:
        await watch.steady_since(now(), 0.5)
        return {(one.probe, one.within) for one in watch.measurements}

    found = watched(tmp_path, work, given.probe, stop=[stop_when(wide)])
    assert found == {("given", False), ("stop: given", True)}
