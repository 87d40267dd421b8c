"""Mutants: that experiments can fail is shown on targets with one deliberate bug each.

`harness mutants TARGET` carries out every experiment on the sound target and on each of its
mutants. The sound one must pass. A mutant must be found by each experiment that names it in
`catches`, and by the check named there. Another experiment may find it as well, but only with a
check that some experiment names for it in `catches`, or it itself in `may_catch`: anything else is
a surprise, for it shows that a mutant breaks something it should not, or that an experiment fails
for no good reason.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import orjson
import pytest

from harness.declare import Experiment, experiment_of
from harness.errors import UsageError
from harness.plugin import IMPORTED, experiment_id, is_regression
from harness.record.folder import RunFolder
from harness.target import Target

SOUND = "sound"

RUN_TIMEOUT_S = 900.0
"""The most that one run may take in the mean, before its pytest is killed."""

Judgement: TypeAlias = Literal["passed", "caught", "also caught", "missed", "surprise"]

SIGNS: Mapping[Judgement, str] = {
    "passed": "·",
    "caught": "●",
    "also caught": "○",
    "missed": "MISSED",
    "surprise": "SURPRISE",
}


@dataclass(frozen=True)
class Found:
    """How one run of one experiment on one mutant ended."""

    experiment: str
    mutant: str
    seed: int
    outcome: str
    checks: tuple[str, ...]
    """The checks whose verdict was not the one that the test expects; `unsteady` for itself."""
    expected: str | None
    """The check that had to find the mutant, if this experiment had to."""
    reason: str
    judgement: Judgement
    folder: str = ""
    """Where a run that went wrong is kept."""

    @property
    def good(self) -> bool:
        return self.judgement not in ("missed", "surprise")


@dataclass(frozen=True)
class Collected:
    """An experiment as pytest finds it."""

    id: str
    experiment: Experiment
    root: Path
    """What ids are relative to: pytest's rootdir."""


def collect(target: str, paths: Sequence[str], *, quick: bool = False) -> list[Collected]:
    """The declared experiments on the target of that name in the test files `paths`; `quick`: only
    those that are marked so.

    Raises `UsageError` if they cannot be collected or there are none.
    """
    collector = _Collector()
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        options = ["--collect-only", "-q", "-p", "no:cacheprovider", *IMPORTED]
        options += ["-m", "quick"] if quick else []
        code = pytest.main([*options, *paths], [collector])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise UsageError(
            "The experiments cannot be collected.",
            why=output.getvalue().strip()[-2000:],
            do=f"See what `pytest --collect-only {' '.join(paths)}` says, or name others with "
            "--experiments.",
        )
    found = [one for one in collector.found if one.experiment.target.name == target]
    if not found:
        raise UsageError(
            f"There are no {'quick ' if quick else ''}experiments on {target} in "
            f"{', '.join(paths)}.",
            do="Name the files or folders that hold them with --experiments.",
        )
    return found


def carry_out(
    experiments: Sequence[Collected],
    mutants: Sequence[str],
    *,
    seeds: int,
    session_seed: int,
    only_expected: bool,
    keep: Path,
    runtime: str,
    jobs: int = 1,
) -> Iterator[Found]:
    """Run the experiments on the sound target and on each mutant, one pytest for each of them, at
    most `jobs` of these at a time. What they found comes in the order of the mutants. The folders
    of runs that went wrong are moved to `keep`."""
    catchers = checks_by_mutant(experiments)

    def run(mutant: str) -> list[Found]:
        chosen = [
            one
            for one in experiments
            if mutant == SOUND or not only_expected or mutant in one.experiment.catches
        ]
        return list(
            _found(
                chosen,
                mutant,
                catchers.get(mutant, frozenset()),
                seeds,
                session_seed,
                keep,
                runtime,
            )
        )

    pool = ThreadPoolExecutor(jobs)
    try:
        for found in pool.map(run, (SOUND, *mutants)):
            yield from found
    finally:
        pool.shutdown(cancel_futures=True)


def _found(
    experiments: Sequence[Collected],
    mutant: str,
    catchers: frozenset[str],
    seeds: int,
    session_seed: int,
    keep: Path,
    runtime: str,
) -> Iterator[Found]:
    """How the experiments fared on one mutant, which the checks `catchers` may find."""
    if not experiments:
        return
    named = {one.id: one for one in experiments}
    left = Counter({one.id: seeds for one in experiments})
    for run in _run(list(named), experiments[0].root, mutant, seeds, session_seed, runtime):
        identity = run.read_identity()
        name = identity["experiment"]
        left[name] -= 1
        outcome = str(identity["outcome"] or "broken")
        checks = _wrong(run, outcome)
        experiment = named[name].experiment
        expected = experiment.catches.get(mutant)
        allowed = catchers | {experiment.may_catch.get(mutant, "")}
        judgement = judge(outcome, checks, expected, allowed)
        found = Found(
            experiment=name,
            mutant=mutant,
            seed=identity["seed"],
            outcome=outcome,
            checks=checks,
            expected=expected,
            reason=str(identity.get("reason", "")),
            judgement=judgement,
        )
        yield found if found.good else dataclasses.replace(found, folder=_kept(run, keep))
    for name in left.elements():
        expected = named[name].experiment.catches.get(mutant)
        yield Found(name, mutant, 0, "broken", (), expected, "It left no run.", "surprise")


def checks_by_mutant(experiments: Sequence[Collected]) -> dict[str, frozenset[str]]:
    """Mutant → the checks that some experiment names for it."""
    found: dict[str, set[str]] = {}
    for one in experiments:
        for mutant, check in one.experiment.catches.items():
            found.setdefault(mutant, set()).add(check)
    return {mutant: frozenset(checks) for mutant, checks in found.items()}


def judge(
    outcome: str, checks: Sequence[str], expected: str | None, others: frozenset[str]
) -> Judgement:
    """What an outcome says, where the check `expected` must find the mutant (None: none must), and
    `others` are those that may."""
    if outcome == "passed":
        return "passed" if expected is None else "missed"
    if expected is not None and _named(checks, frozenset({expected})):
        return "caught"
    if expected is None and _named(checks, others):
        return "also caught"
    return "surprise" if expected is None else "missed"


def listing(target: type[Target], experiments: Sequence[Collected]) -> str:
    """The mutants of a target, and which experiment must catch each with which check."""
    lines = []
    for mutant, what in target.mutants.items():
        lines.append(f"{mutant}: {what}")
        catchers = [
            f"    caught by {one.id.rpartition('::')[2]} ({one.experiment.catches[mutant]})"
            for one in experiments
            if mutant in one.experiment.catches
        ]
        lines += catchers or ["    caught by no experiment"]
    return "\n".join(lines) or f"{target.name} has no mutants."


def line(one: Found) -> str:
    """One run in a line; for one that went wrong also why, and how to repeat it."""
    name = one.experiment.rpartition("::")[2]
    by = f" ({', '.join(one.checks)})" if one.checks else ""
    text = f"{one.mutant:24} {name:44} {one.outcome:9} {one.judgement}"
    if one.good:
        return text + by
    lines = [f"{text}, seed {one.seed}"]
    if one.judgement == "missed":
        what = f"only by {', '.join(one.checks)}" if one.checks else "by nothing"
        lines.append(f"    {one.expected} should have found it; it was found {what}")
    if one.reason:
        lines.append(f"    {one.reason.splitlines()[0]}")
    if one.folder:
        lines.append(f"    harness replay {one.folder}")
    return "\n".join(lines)


def wrong(
    found: Sequence[Found], mutants: Sequence[str], experiments: Sequence[Collected]
) -> list[str]:
    """What speaks against the experiments, in words; nothing is what is hoped for."""
    lines = [line(one) for one in found if not one.good]
    caught = checks_by_mutant(experiments)
    lines += [
        f"No experiment says that it catches {name}." for name in mutants if name not in caught
    ]
    return lines


def table(found: Sequence[Found]) -> str:
    """The matrix, a line for each mutant and a column for each experiment, with a legend."""
    experiments = list(dict.fromkeys(one.experiment for one in found))
    rows = [["", *(f"E{number}" for number, _ in enumerate(experiments, start=1))]]
    for mutant in dict.fromkeys(one.mutant for one in found):
        mine = [one for one in found if one.mutant == mutant]
        cells = [_cell([one for one in mine if one.experiment == name]) for name in experiments]
        rows.append([mutant, *cells])
    widths = [max(len(row[column]) for row in rows) + 2 for column in range(len(rows[0]))]
    lines = [
        "".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    names = [name.rpartition("::")[2] for name in experiments]
    lines += ["", *(f"E{number}  {name}" for number, name in enumerate(names, start=1)), ""]
    lines.append("● caught by the check it must be caught by   ○ caught as well   · passed")
    return "\n".join(lines)


def _cell(found: Sequence[Found]) -> str:
    if not found:
        return ""
    bad = [one for one in found if not one.good]
    sign = SIGNS[(bad or found)[0].judgement]
    if len(found) == 1:
        return sign
    number = len(bad) if bad else sum(one.outcome != "passed" for one in found)
    # One that is caught under some seeds only is no more than "caught as well".
    if not bad and 0 < number < len(found):
        sign = SIGNS["also caught"]
    return f"{sign} {number}/{len(found)}" if number else sign


def _named(checks: Sequence[str], names: frozenset[str]) -> bool:
    return any(check == name or check.startswith(f"{name}(") for check in checks for name in names)


def _run(
    ids: Sequence[str], root: Path, mutant: str, seeds: int, session_seed: int, runtime: str
) -> Iterator[RunFolder]:
    """Carry out experiments in a pytest of its own; the folders of the runs, which last until the
    next one is asked for."""
    with tempfile.TemporaryDirectory(prefix="harness-mutants-") as folder:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *ids]
        # In one word each: pytest would take the folder alone for one that holds tests.
        command += [f"--rootdir={root}", f"--chaos-runs-dir={folder}"]
        command += [f"--chaos-seed={session_seed}", f"--chaos-seeds={seeds}"]
        command += [f"--chaos-runtime={runtime}"]
        command += [f"--chaos-mutant={mutant}"] if mutant != SOUND else []
        paths = [str(Path.cwd()), os.environ.get("PYTHONPATH", "")]
        ended = subprocess.run(
            command,
            cwd=root,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT_S * len(ids) * seeds,
        )
        if ended.returncode == pytest.ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
        runs = [RunFolder(path.parent) for path in sorted(Path(folder).glob("*/run.json"))]
        if not runs:
            raise UsageError(
                f"No experiment was carried out on {mutant}.", why=ended.stdout.strip()[-2000:]
            )
        yield from runs


def _kept(run: RunFolder, keep: Path) -> str:
    """Move the folder of a run that went wrong to those of other runs."""
    keep.mkdir(parents=True, exist_ok=True)
    return str(shutil.move(run.path, keep / run.path.name))


def _wrong(run: RunFolder, outcome: str) -> tuple[str, ...]:
    """The checks whose verdict was not the expected one, and `unsteady` if the run was."""
    verdicts = orjson.loads(run.verdicts.read_bytes())["verdicts"] if run.verdicts.exists() else []
    wrong = [
        one["check"]
        for one in verdicts
        if one["result"] != one["expected"] and one["result"] != "unknown"
    ]
    return (*wrong, "unsteady") if outcome == "unsteady" else tuple(wrong)


class _Collector:
    """A plugin that keeps the declared experiments that were collected."""

    def __init__(self) -> None:
        self.found: list[Collected] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            experiment = experiment_of(getattr(item, "function", None))
            # Plans that are kept show what is wrong with the sound target, not with mutants.
            if experiment is not None and not is_regression(item):
                id, root = experiment_id(item.nodeid), item.config.rootpath
                self.found.append(Collected(id, experiment, root))
