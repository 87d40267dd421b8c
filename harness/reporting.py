"""What people are told about runs: the story of a failure, a line per run, the user's line."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.errors import HarnessError, with_place
from harness.history import MISMATCH

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from harness.engine import Run
    from harness.sweep import Swept


COLOURS = {"passed": "green", "failed": "red"}


def headline(live: Run) -> str:
    """Which checks did not come out as expected."""
    wrong = [found.check for found, hoped in live.verdicts if found.result != hoped]
    return f"{len(wrong)} of {len(live.verdicts)} checks: {', '.join(wrong)}"


def story(live: Run) -> str:
    """What a person needs who meets this failure: verdicts, evidence, faults, where, how again."""
    from harness.record.bite import bites

    lines = []
    for found, hoped in live.verdicts:
        mark = "as expected" if found.result == hoped else f"expected {hoped}"
        lines.append(f"{found.check}: {found.result} ({mark}). {found.summary}")
        if found.result != hoped:
            lines += [f"  {line}" for line in found.evidence_lines]
    if live.conclusion()[0] == "failed" and live.outcome not in (None, "failed"):
        # A broken invariant comes first, but is not all that there is to say.
        lines += ["", f"{live.outcome}: {live.reason}"]
    if lines:
        lines.append("")
    lines += steady_lines(live) + load_lines(live)
    told = bites(live.folder.journal, live.recorder.ops)
    if told:
        lines += ["Faults:", *(f"  {bite}" for bite in told)]
    lines += [
        f"Run:    {_shown(live.folder.path)}",
        f"Report: {_shown(live.folder.report)}",
        f"Seed:   {live.plan.seed}",
        f"Replay: {live.replay_command}",
    ]
    return "\n".join(lines)


def summary(live: Run) -> str:
    """One line of figures."""
    counts = live.recorder.outcomes
    refused = sum(op.error == MISMATCH for op in live.recorder.ops)
    idle = [bite.id for bite in live.bites if not bite.bit]
    text = (
        f"{counts['ok']} ok, {refused} mismatch, {counts['fail'] - refused} unavailable, "
        f"{counts['info']} unknown; faults: {len(live.bites)}"
    )
    if idle:
        text += f", of which {', '.join(idle)} did not bite"
    text += "".join(f"\n{line}" for line in steady_lines(live) + load_lines(live))
    if live.kept:
        text += f"; cluster kept up at {live.kept_at}, `harness cleanup` ends it"
    return text


def steady_lines(live: Run) -> list[str]:
    """How far the faults took the target out of its steady state, and how fast it came back."""
    told = []
    for probe, phases in live.steadiness.items():
        during = phases.get("during")
        if during is not None and during.within < 1:
            span = "" if during.most is None else f", from {during.least:.3g} to {during.most:.3g}"
            told.append(f"{probe} out of bounds {1 - during.within:.0%} of the time{span}")
    if not live.steadiness:
        return []
    regained = "" if live.recovered_s is None else f"; steady again {live.recovered_s:.1f} s later"
    return [f"Steady state under faults: {', '.join(told) or 'kept'}{regained}"]


def load_lines(live: Run) -> list[str]:
    """A line for each route of the load: how it fared before, during and after the faults."""
    lines = []
    for route, phases in live.load_figures.items():
        told = [
            f"{phase} {one.count} requests, "
            + (f"p99 {one.p99_s * 1000:.0f} ms, " if one.p99_s is not None else "")
            + f"{one.errors:.1%} failed"
            for phase, one in phases.items()
            if one.count
        ]
        lines.append(f"Load {route}: {'; '.join(told) or 'no requests'}")
    return lines


def failed_report(error: Exception) -> str:
    """That a run has no report, and why."""
    return f"No report could be made: {with_place(error)}"


def list_runs(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """For each run its outcome, seed, what it met, and its folder; why others were skipped."""
    rows = []
    told = []
    skipped = []
    for reports in terminalreporter.stats.values():
        for report in reports:
            if not isinstance(report, pytest.TestReport) or report.when != "teardown":
                continue
            properties = dict(report.user_properties)
            if "chaos_outcome" in properties:
                rows.append((str(properties["chaos_run"]), report.nodeid, properties))
            if "chaos_skipped" in properties:
                skipped.append((report.nodeid, str(properties["chaos_skipped"])))
            if properties.get("chaos_divergences"):
                told.append(str(properties["chaos_divergences"]))
    if not rows and not skipped:
        return
    terminalreporter.ensure_newline()
    from harness.sweep import sweeps

    swept = sweeps([_swept(path, properties, config) for path, _, properties in rows])
    terminalreporter.section("chaos runs")
    for path, nodeid, properties in sorted(rows):
        outcome = str(properties["chaos_outcome"])
        if outcome == "passed" and properties["chaos_experiment"] in swept:
            continue  # (it has its line among the seeds)
        colour = COLOURS.get(outcome, "yellow")
        file, _, name = nodeid.rpartition("::")
        if file.endswith(".json"):  # (a plan that is kept)
            name = f"{Path(file).stem}: {name}"
        terminalreporter.write(f"{outcome:<8}", **{colour: True})
        mutant = f" on mutant {properties['chaos_mutant']}" if properties["chaos_mutant"] else ""
        terminalreporter.write_line(f" {name}{mutant} (seed {properties['chaos_seed']})")
        for line in str(properties["chaos_summary"]).splitlines():
            terminalreporter.write_line(f"         {line}")
        if wrong := properties.get("chaos_report"):
            terminalreporter.write_line(f"         {wrong}")
        terminalreporter.write_line(f"         {short_path(Path(path), config)}")
    for nodeid, reason in sorted(skipped):
        terminalreporter.write("skipped ", yellow=True)
        terminalreporter.write_line(f" {nodeid.rpartition('::')[2]}")
        for line in reason.splitlines():
            terminalreporter.write_line(f"         {line}")
    _list_sweeps(terminalreporter, swept)
    for text in told:
        terminalreporter.section("replay")
        terminalreporter.write_line(text)


def failed_runs(terminalreporter: TerminalReporter) -> list[dict[str, object]]:
    """What is told of the runs of this session that failed in a way that can be named."""
    told = [
        dict(report.user_properties)
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "teardown"
    ]
    failed = ("failed", "unsteady")
    return [one for one in told if one.get("chaos_outcome") in failed and one["chaos_failure"]]


def _swept(path: str, properties: dict[str, object], config: pytest.Config) -> Swept:
    from harness.sweep import Swept

    return Swept(
        experiment=str(properties["chaos_experiment"]),
        seed=int(str(properties["chaos_seed"])),
        outcome=str(properties["chaos_outcome"]),
        failure=str(properties["chaos_failure"] or properties["chaos_reason"]),
        seconds=float(str(properties["chaos_seconds"])),
        folder=short_path(Path(path), config),
    )


def _list_sweeps(terminalreporter: TerminalReporter, swept: dict[str, list[Swept]]) -> None:
    """How each experiment fared under many seeds, the seeds that did not pass first."""
    from harness import sweep

    if swept:
        terminalreporter.section("chaos seeds")
    for name, runs in swept.items():
        terminalreporter.write_line(name, bold=True)
        terminalreporter.write_line(f"  {sweep.headline(runs)}")
        for found in sweep.verdicts(runs):
            terminalreporter.write_line(f"  {found}")
        for run in runs:
            colour = COLOURS.get(run.outcome, "yellow")
            terminalreporter.write(f"  {run.outcome:<8}", **{colour: True})
            terminalreporter.write_line(f" {sweep.line(run)}")


def harness_error(error: BaseException | None) -> HarnessError | None:
    """`error` or what caused it, if that is one of the harness."""
    while error is not None and not isinstance(error, HarnessError):
        error = error.__cause__
    return error


def message(error: HarnessError, info: pytest.ExceptionInfo[BaseException]) -> str:
    """The error and the last line of the user's that led to it: no stack trace of ours."""
    ours = Path(__file__).parent
    place = ""
    for entry in info.traceback:
        path = Path(str(entry.path))
        installed = "site-packages" in path.parts or ours in path.parents
        # Generated code (a dataclass's __init__) and the interpreter's own have no file of theirs.
        if path.is_file() and not installed and "/lib/python" not in str(path):
            place = f"{path}:{entry.lineno + 1}: "
    return f"{place}{error}"


def replay_command(
    experiment: str, recording: Path, options: Mapping[str, str], config: pytest.Config
) -> str:
    """The one command that repeats a run, as it works where pytest was called. `options` are those
    that differ from what was recorded: `runtime`, `mutant`."""
    here = config.invocation_params.dir.resolve()
    if here == config.rootpath.resolve():
        path = shlex.quote(short_path(recording, config))
        told = "".join(f" --chaos-{name} {value}" for name, value in options.items())
        return f"pytest '{experiment}' --chaos-replay {path}{told}"
    told = "".join(f" --{name} {value}" for name, value in options.items())
    return f"harness replay {shlex.quote(os.path.relpath(recording.resolve(), here))}{told}"


def _shown(path: Path) -> Path:
    """The path as a person who called pytest would type it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def short_path(path: Path, config: pytest.Config) -> str:
    """The path as a person at the project's root would type it."""
    resolved = path.resolve()
    root = config.rootpath.resolve()
    return str(resolved.relative_to(root) if resolved.is_relative_to(root) else resolved)
