"""Shrinking what was recorded: the plan, its failure and hints from a run's folder; workers that
carry candidates out; and what is kept of it all, in `shrink/` in that folder.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness import report
from harness.errors import HarnessError, UsageError
from harness.failure import Failure
from harness.plan import Plan, read_plan
from harness.project import file_of
from harness.record.folder import RunFolder
from harness.replay.recorded import Recording, faults_began, plan_of, scripted
from harness.replay.regressions import FOLDER
from harness.replay.repeat import Repeat
from harness.replay.workers import Workers, workers_for
from harness.shrink import edits
from harness.shrink.hints import Hints
from harness.shrink.judge import Budget
from harness.shrink.shrinking import Shrunk, shrink
from harness.workload.script import stride


@dataclass(frozen=True)
class Options:
    """How to shrink: how many runs at once, what may be spent, where nodes run, and whether faults
    stay on the nodes that they hit."""

    jobs: int = 2
    budget: Budget = field(default_factory=Budget)
    runtime: str | None = None
    exact: bool = False


def shrink_recording(
    recording: Recording, root: Path, options: Options, tell: Callable[[str], None]
) -> Shrunk:
    """Shrink what was recorded, an experiment of the project at `root`. The plan is then in
    `shrink_folder(recording)`, as `plan.json`, with a run of it, `run/`.

    Raises `UsageError` if there is no failure in it that could be shrunk.
    """
    plan = plan_of(recording, exact=options.exact)
    wanted = failure_of(recording)
    if plan.ops is None and not plan.faults:
        raise UsageError(
            f"The plan of {recording.path} holds nothing that could be left out.",
            why="It has no faults and lists no ops, as of an experiment that goes step by step.",
            do="Shorten the steps in the test itself.",
        )
    folder = shrink_folder(recording)
    candidates = folder / "candidates"
    shutil.rmtree(candidates, ignore_errors=True)  # of a shrink that was killed
    runtime = options.runtime or recording.runtime
    with workers_for(
        plan, root, count=options.jobs, runs_dir=candidates, runtime=runtime
    ) as workers:
        kept = _Kept(workers, wanted)
        shrunk = shrink(
            plan,
            wanted,
            kept.carry_out,
            folder=folder,
            at_once=options.jobs,
            budget=options.budget,
            hints=hints(recording, plan),
            tell=tell,
        )
        kept.keep(shrunk.plan, folder / "run")
    shutil.rmtree(candidates, ignore_errors=True)
    return shrunk


def shrink_folder(recording: Recording) -> Path:
    """Where the shrink of a recording is kept."""
    if recording.folder is not None:
        return recording.folder.path / "shrink"
    return recording.path.with_suffix(".shrink")


def failure_of(recording: Recording) -> Failure:
    """What a recording failed with. Raises `UsageError` if it did not."""
    found = recording.failure
    if found is None:
        outcome = recording.folder.read_identity().get("outcome") if recording.folder else None
        raise UsageError(
            f"{recording.path} shows no failure that could be shrunk"
            + (f" (it ended {outcome})." if outcome else "."),
            why="Only what a check finds can be found again with less, and an `unsteady` cluster; "
            "not that a flaw which the experiment expects was missed.",
            do="Name a run that failed; `harness runs` lists them.",
        )
    return found


def hints(recording: Recording, plan: Plan) -> Hints:
    """Where the evidence of the run's failure points to; nothing if it names no ops."""
    folder = recording.folder
    if folder is None or plan.workload is None:
        return Hints()
    begun = faults_began(folder)
    invalid = [one for one in folder.read_verdicts() if one["result"] == "invalid"]
    invalid.sort(key=lambda one: bool(one["expected"] == "invalid"))
    if begun is None or not invalid:
        return Hints()
    clients = plan.workload["clients"]
    steps = stride(clients, len(plan.nodes))

    def told(op: dict[str, Any]) -> tuple[int, Any, float, float]:
        client = op["process"] % steps
        end = op.get("end")
        start_s = (op["start"] - begun) / 1e9
        end_s = start_s if end is None else (end - begun) / 1e9
        return (client if client < clients else -1, op.get("key"), start_s, end_s)

    ops = invalid[0].get("data", {}).get("ops")
    try:
        return Hints.around(plan, [told(op) for op in ops or ()])
    except (KeyError, TypeError):
        return Hints()  # (a check of somebody's own tells of ops in its own way)


class _Kept:
    """Carries plans out and deletes their runs, but for the newest that failed as wanted of each
    plan: a shrink takes a hundred runs, of which one matters."""

    def __init__(self, workers: Workers, wanted: Failure) -> None:
        self._workers = workers
        self._wanted = wanted
        self._folders: dict[str, Path] = {}

    def carry_out(self, plan: Plan) -> Future[Repeat]:
        future = self._workers.carry_out(plan)
        digest = edits.digest(plan)

        def look(done: Future[Repeat]) -> None:
            if done.cancelled() or done.exception() is not None:
                return
            repeat = done.result()
            useless: Path | None = repeat.folder
            if repeat.reproduced(self._wanted):
                useless, self._folders[digest] = self._folders.get(digest), repeat.folder
            if useless is not None:
                shutil.rmtree(useless, ignore_errors=True)

        future.add_done_callback(look)
        return future

    def keep(self, plan: Plan, to: Path) -> None:
        """Keep the run of `plan` at `to`; none if it was carried out by an earlier shrink alone."""
        found = self._folders.get(edits.digest(plan))
        if found is not None and found.exists():
            shutil.rmtree(to, ignore_errors=True)
            shutil.move(found, to)
            report.write(RunFolder(to))


def keep(recording: Recording, root: Path, name: str | None) -> Path:
    """Keep the plan of a recording as a regression: a file in `regressions` beside its experiment.
    Of a run that was shrunk, the shrunk plan. Returns the file.

    Raises `UsageError` if there is a file of that name, or the name is none.
    """
    shrunk = shrink_folder(recording) / "plan.json"
    if recording.folder is not None and shrunk.exists():
        plan = read_plan(shrunk)
    else:
        plan = scripted(recording)
        if plan.failure is None and (found := recording.failure) is not None:
            plan = replace(plan, failure=found.to_json())
    folder = (root / file_of(plan.experiment)).parent / FOLDER
    chosen = name or _name(plan)
    if "/" in chosen or chosen.startswith("."):
        raise UsageError(f"{chosen!r} is no name of a file.", do="Give a name such as lost-adds.")
    path = folder / f"{chosen.removesuffix('.json')}.json"
    if path.exists():
        raise UsageError(f"There is a {path} already.", do="Give another name with --name.")
    # A regression is of the target as it is, whatever bug was switched on to find it.
    plan = replace(plan, target={**plan.target, "mutant": None})
    folder.mkdir(exist_ok=True)
    plan.write(path)
    return path


def _name(plan: Plan) -> str:
    test = plan.experiment.rpartition("::")[2].removeprefix("test_").partition("[")[0]
    if plan.failure is None:
        return test.replace("_", "-")
    try:
        failure = Failure.from_json(plan.failure)
    except HarnessError:
        return test.replace("_", "-")
    kind = failure.anomalies[0] if failure.anomalies else failure.check.partition("(")[0]
    return re.sub(r"[^A-Za-z0-9.]+", "-", f"{test}-{kind}"[:60]).strip("-.")
