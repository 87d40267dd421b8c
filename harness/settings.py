"""What the pytest options and ini values come to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import seeds
from harness.errors import UnreadableError
from harness.runtime.spec import RUNTIMES


def add_options(parser: pytest.Parser) -> None:
    """The options, each also an ini value."""
    group = parser.getgroup("chaos", "chaos and resilience experiments")

    def option(name: str, help: str, **kwargs: Any) -> None:
        group.addoption(f"--chaos-{name}", default=None, help=help, **kwargs)
        parser.addini(f"chaos_{name.replace('-', '_')}", help)

    option("runtime", "where nodes run", choices=RUNTIMES)
    option("seed", "the session's seed, or a run's own seed to repeat it", metavar="N")
    option("seeds", "carry out each experiment under K seeds", metavar="K")
    option("scale", "multiply the durations of experiments by X", metavar="X")
    option("replay", "carry out the recorded plan of RUN: a folder, a zip, a plan", metavar="RUN")
    option(
        "exact",
        "with --chaos-replay: faults hit the nodes they hit, whoever holds the role now",
        action="store_true",
    )
    option("shrink", "shrink the plan of each failing run when all are done", action="store_true")
    option("shrink-minutes", "with --chaos-shrink: for each failure at most (10)", metavar="M")
    option("runs-dir", "where the folders of runs go (default: runs)", metavar="DIR")
    option("mutant", "carry out experiments on the target's mutant NAME", metavar="NAME")
    option(
        "keep-failed",
        "leave the cluster of a failed run up, for a person to look at",
        action="store_true",
    )


@dataclass(frozen=True)
class Settings:
    """What the options and ini values come to. A marker overrides them for its experiment."""

    seed: int
    seeds: int = 1
    scale: float = 1.0
    runtime: str = RUNTIMES[0]
    runs_dir: Path = Path("runs")
    replay: Path | None = None
    keep_failed: bool = False
    mutant: str | None = None
    exact: bool = False
    shrink: bool = False
    shrink_minutes: float = 10.0


def settings_of(config: pytest.Config) -> Settings:
    """The settings of this session; a worker of xdist has its seed from the controller."""

    def given(name: str) -> Any:
        value = config.getoption(f"--chaos-{name}")
        if value is None or value is False:
            value = config.getini(f"chaos_{name.replace('-', '_')}")
        return value or None

    def switched_on(name: str) -> bool:
        return str(given(name) or "").lower() in ("1", "true", "yes")

    replay = config.invocation_params.dir / given("replay") if given("replay") else None
    worker_input = getattr(config, "workerinput", None)
    if worker_input is not None:
        seed = worker_input["chaos_seed"]
    elif given("seed") is not None:
        seed = _number(given("seed"), "--chaos-seed", int, 0)
    else:
        seed = seeds.fresh_session_seed()
    runs_dir = Path(given("runs-dir") or "runs")
    return Settings(
        seed=seed,
        seeds=_number(given("seeds") or 1, "--chaos-seeds", int, 1),
        scale=_number(given("scale") or 1.0, "--chaos-scale", float, 0.001),
        runtime=given("runtime") or (recorded_runtime(replay) if replay else RUNTIMES[0]),
        runs_dir=runs_dir if runs_dir.is_absolute() else config.rootpath / runs_dir,
        replay=replay,
        mutant=given("mutant"),
        keep_failed=switched_on("keep-failed"),
        exact=switched_on("exact"),
        shrink=switched_on("shrink"),
        shrink_minutes=_number(given("shrink-minutes") or 10.0, "--chaos-shrink-minutes", float, 0),
    )


def recorded_runtime(run: Path) -> str:
    """The runtime of a recorded run: a replay has the same unless another one is asked for."""
    from harness.replay.recorded import read_recording

    try:
        return read_recording(run).runtime
    except UnreadableError:
        return RUNTIMES[0]  # what is wrong with it is told when its plan is needed


def _number(text: Any, option: str, kind: type[Any], least: float) -> Any:
    try:
        number = kind(text)
    except ValueError:
        number = None
    if number is None or not least <= number < 2**53:
        what = "a whole number" if kind is int else "a number"
        raise pytest.UsageError(f"{option} must be {what} of at least {least:g}, not {text!r}.")
    return number
