"""The `harness` command.

A subcommand is one function that takes the parsed arguments and returns an exit code, and one
block in `_parser` that describes it. What a subcommand needs beyond the standard library it
imports itself, so that each starts as fast as it can. `HarnessError`s become their message on
stderr and their exit code here, and nowhere else.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from harness.errors import AbortedError, BrokenError, HarnessError, UnreadableError, UsageError
from harness.runtime.spec import RUNTIMES

if TYPE_CHECKING:
    from harness.check import Check, Verdict
    from harness.history import History
    from harness.replay.recorded import Recording

DONE, INVALID, UNKNOWN, INFRASTRUCTURE = 0, 1, 2, 4

MANY_OPS = 200
"""More than these in a plan that is kept are worth a word."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 valid or done, 1 invalid or failed, 2 unknown,
    3 wrong use or unreadable input, 4 infrastructure, 5 aborted."""
    try:
        arguments = _parser().parse_args(argv)
        run: Callable[[argparse.Namespace], int] = arguments.run
        code = run(arguments)
        sys.stdout.flush()
    except HarnessError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        return AbortedError.exit_code
    except BrokenPipeError:
        # The reader (`harness runs | head`) has seen enough. Nothing may be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception:
        # An error of ours must not look like a verdict: Python's own status for it is 1.
        traceback.print_exc()
        return INFRASTRUCTURE
    return code


def doctor(arguments: argparse.Namespace) -> int:
    """What works here, what is missing, and how to get it."""
    from harness.doctor import examine, table, to_json, works

    rows = examine(fetch=arguments.fetch)
    print(_json(to_json(rows)) if arguments.json else table(rows))
    return DONE if works(rows) else INFRASTRUCTURE


def check(arguments: argparse.Namespace) -> int:
    """Judge one recorded history."""
    from harness import collector
    from harness.check import Verdict
    from harness.check.named import NAMES
    from harness.formats import read

    if arguments.history is None and arguments.options and "=" not in arguments.options[-1]:
        arguments.history = Path(arguments.options.pop())  # (`--with a=1 FILE`)
    if arguments.history is None and arguments.model is None:
        print(_models(NAMES))
        return DONE
    if arguments.history is None or arguments.model is None:
        raise UsageError(
            "harness check needs a history and a model to judge it by.",
            do="harness check FILE --model MODEL; harness check alone lists the models.",
        )
    judge = _judge(arguments)
    history = read(arguments.history, arguments.format, independent=arguments.independent)
    try:
        with collector.paused():
            verdict = judge(history)
    except MemoryError:
        summary = "Undecided: there is no more memory (bound it with --memory)."
        verdict = Verdict(judge.name, "unknown", summary)
    if arguments.svg is not None:
        _draw(verdict, history, arguments.svg)
    if arguments.json:
        print(_json(_told(verdict)))
    else:
        print(f"{verdict.check}: {verdict.result}. {verdict.summary}")
        for line in verdict.evidence_lines:
            print(line)
    return {"valid": DONE, "invalid": INVALID, "unknown": UNKNOWN}[verdict.result]


def runs(arguments: argparse.Namespace) -> int:
    """The recorded runs, oldest first."""
    from harness.project import find_runs_dir
    from harness.record.folder import RunFolder

    arguments.runs_dir = find_runs_dir(arguments.runs_dir, Path())
    try:
        folders = sorted(
            path
            for path in arguments.runs_dir.iterdir()
            if path.is_dir() and not path.name.startswith(".")
        )
    except FileNotFoundError:
        folders = []
    except OSError as error:
        raise UsageError(
            f"The folder for runs, {arguments.runs_dir}, cannot be read.",
            why=str(error),
            do="Name another one with --runs-dir.",
        ) from None
    if not folders:
        print(f"There are no runs in {arguments.runs_dir}.")
    for path in folders:
        try:
            print(f"{_run_line(RunFolder(path).read_identity())}  {path}")
        except UnreadableError as error:
            print(f"{'damaged':<10}          {path}  {error.what}")
    return DONE


def replay(arguments: argparse.Namespace) -> int:
    """Carry out a recorded plan again."""
    import pytest

    from harness.plugin import IMPORTED
    from harness.replay.recorded import read_recording

    recording = read_recording(arguments.recording)
    experiment, root = recording.plan.experiment, _root_of(recording)
    if arguments.times > 1:
        return _replay_times(arguments, recording, root)
    # In one word: pytest would take the folder alone for one that holds tests.
    options = [*IMPORTED, f"--chaos-replay={recording.path.resolve()}"]
    options += [f"--chaos-runtime={arguments.runtime}"] if arguments.runtime else []
    options += ["--chaos-exact"] if arguments.exact else []
    options += [f"--chaos-mutant={arguments.mutant}"] if arguments.mutant else []
    runs_dir = _runs_dir_of(arguments, root)
    options += [f"--chaos-runs-dir={runs_dir}"] if runs_dir else []
    os.chdir(root)
    heard = _Outcomes()
    code = pytest.main([experiment, f"--rootdir={root}", *options], [heard])
    if heard.outcomes:
        return _code(heard.outcomes)
    return {
        pytest.ExitCode.INTERRUPTED: AbortedError.exit_code,
        pytest.ExitCode.USAGE_ERROR: UsageError.exit_code,
    }.get(pytest.ExitCode(code), INFRASTRUCTURE)


class _Outcomes:
    """A plugin that hears how runs ended."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        told = dict(report.user_properties)
        if report.when == "teardown" and "chaos_outcome" in told:
            self.outcomes.append(str(told["chaos_outcome"]))


def _code(outcomes: Sequence[str]) -> int:
    """The exit code for runs that ended so: a failure counts most."""
    if "failed" in outcomes or "unsteady" in outcomes:
        return INVALID
    if "aborted" in outcomes:
        return AbortedError.exit_code
    if "unknown" in outcomes:
        return UNKNOWN
    return DONE if "passed" in outcomes else INFRASTRUCTURE


def _replay_times(arguments: argparse.Namespace, recording: Recording, root: Path) -> int:
    from harness.replay.recorded import plan_of
    from harness.replay.times import replay_times
    from harness.replay.workers import workers_for

    plan = plan_of(recording, exact=arguments.exact)
    if arguments.mutant is not None:
        plan = dataclasses.replace(plan, target={**plan.target, "mutant": arguments.mutant})
    runtime = arguments.runtime or recording.runtime
    runs_dir = _runs_dir_of(arguments, root)
    with workers_for(
        plan, root, count=arguments.jobs, runs_dir=runs_dir, runtime=runtime
    ) as workers:
        replays = replay_times(
            workers, plan, recording.failure, arguments.times, lambda line: print(line, flush=True)
        )
    print(replays.summary)
    return _code([repeat.outcome for repeat in replays.repeats])


def shrink(arguments: argparse.Namespace) -> int:
    """Find the smallest plan that fails the same way."""
    from harness.replay.recorded import read_recording
    from harness.shrink.judge import Budget
    from harness.shrink.recordings import Options, keep, shrink_folder, shrink_recording

    recording = read_recording(arguments.recording)
    root = _root_of(recording)
    budget = Budget(arguments.runs, None if arguments.minutes is None else 60 * arguments.minutes)
    options = Options(arguments.jobs, budget, arguments.runtime, arguments.exact)
    plan = shrink_folder(recording) / "plan.json"
    try:
        shrunk = shrink_recording(recording, root, options, lambda line: print(line, flush=True))
    except KeyboardInterrupt:
        if plan.exists():
            print(f"Best so far: {os.path.relpath(plan)}. The same command goes on from here.")
        raise
    print(f"\n{shrunk}")
    if not shrunk.reproduced:
        return UNKNOWN
    print(f"Plan:   {os.path.relpath(plan)}\nReplay: harness replay {os.path.relpath(plan)}")
    if arguments.keep is not None:
        print(f"Kept:   {os.path.relpath(keep(recording, root, arguments.keep or None))}")
    return DONE


def keep(arguments: argparse.Namespace) -> int:
    """Keep a plan as a regression, which pytest carries out from then on."""
    from harness.replay.recorded import read_recording
    from harness.shrink.recordings import keep as keep_plan

    recording = read_recording(arguments.recording)
    path = keep_plan(recording, _root_of(recording), arguments.name)
    shown = shlex.quote(os.path.relpath(path))
    print(f"Kept: {shown}. pytest {shown} carries it out.")
    ops = len(read_recording(path).plan.ops or ())
    if ops > MANY_OPS:
        print(f"It lists {ops} ops, which nobody will read: harness shrink first.")
    if recording.plan.target.get("mutant") is not None:
        print(f"It was found on the mutant {recording.plan.target['mutant']}; kept without it.")
    return DONE


def report(arguments: argparse.Namespace) -> int:
    """Make the report of a run, of two side by side, or the overview of all."""
    from harness import report
    from harness.project import find_runs_dir
    from harness.record.folder import RunFolder

    if arguments.index:
        if arguments.one or arguments.other:
            raise UsageError("harness report --index names no run.", do="Leave RUN out.")
        runs_dir = find_runs_dir(arguments.runs_dir, Path())
        pages = [report.write_index(runs_dir, arguments.inline)]
    elif arguments.one is None:
        raise UsageError(
            "harness report needs a run.", do="harness report runs/<run>, or harness report --index"
        )
    elif arguments.other is None:
        pages = [report.write(RunFolder(arguments.one), arguments.inline)]
    else:
        one, other = RunFolder(arguments.one), RunFolder(arguments.other)
        pages = [report.write_comparison(one, other, arguments.inline)]
    for page in pages:
        print(os.path.relpath(page))
    return DONE


def _runs_dir_of(arguments: argparse.Namespace, root: Path) -> Path | None:
    """Where new runs go: as asked, or here if the project came along with a run; None for where
    the project has them."""
    if arguments.runs_dir is not None:
        return Path(arguments.runs_dir).resolve()
    here = Path.cwd()
    return None if here.is_relative_to(root) else here / "runs"


def export(arguments: argparse.Namespace) -> int:
    """Make one file of a run, which replays on another machine."""
    from harness.project import find_root
    from harness.record.folder import RunFolder
    from harness.replay.export import export as write

    folder = RunFolder(arguments.folder)
    root = find_root(str(folder.read_identity()["experiment"]), Path.cwd(), folder.path)
    to = arguments.to or Path(f"{folder.path.resolve().name}.zip")
    sources = write(folder, root, to)
    print(f"{to}: the run and {len(sources)} files of its project. There: harness replay {to.name}")
    return DONE


def _root_of(recording: Recording) -> Path:
    """The project that a recording is of: around here, around it, or that came along with it."""
    from harness.project import find_root

    places = [Path.cwd(), recording.path.parent]
    if recording.folder is not None:
        places.append(recording.folder.source)
    return find_root(recording.plan.experiment, *places)


def targets(arguments: argparse.Namespace) -> int:
    """The targets of this project."""
    from harness.catalogue import known_targets

    known = known_targets()
    if not known:
        print("There is no package `targets` with any target in this directory.")
    for name, kind in known.items():
        ports = ", ".join(f"{port} {number}" for port, number in kind.ports.items())
        told = [f"ports: {ports}"]
        told += [f"roles: {', '.join(kind.roles)}"] if kind.roles else []
        told += [f"dependencies: {', '.join(kind.dependencies)}"] if kind.dependencies else []
        told += [f"needs {', '.join(part.name for part in kind.parts)}"] if kind.parts else []
        told += [f"mutants: {len(kind.mutants)}"] if kind.mutants else []
        print(f"{name}  {'; '.join(told)}")
    return DONE


def up(arguments: argparse.Namespace) -> int:
    """Start a cluster by hand and hold it up until Ctrl-C."""
    import asyncio

    from harness.catalogue import target_named
    from harness.up import hold_up

    kind = target_named(arguments.target)
    target = kind() if arguments.nodes is None else kind(nodes=arguments.nodes)
    asyncio.run(hold_up(target, arguments.runtime, lambda text: print(text, flush=True)))
    return DONE


def mutants(arguments: argparse.Namespace) -> int:
    """Show that each mutant of a target is caught, and that the sound one passes."""
    from harness import mutants
    from harness.catalogue import target_named
    from harness.seeds import fresh_session_seed

    target = target_named(arguments.target)
    paths = [str(path) for path in arguments.experiments]
    experiments = mutants.collect(target.name, paths, quick=arguments.quick)
    if arguments.list:
        print(mutants.listing(target, experiments))
        return DONE
    named = arguments.mutant or list(target.mutants)
    if arguments.quick and not arguments.mutant:
        caught = mutants.checks_by_mutant(experiments)
        named = [name for name in named if name in caught]
    if unknown := [name for name in named if name not in target.mutants]:
        raise UsageError(
            f"{target.name} has no mutant {unknown[0]!r}.",
            do=f"Its mutants: {', '.join(target.mutants) or 'none'}.",
        )
    seed = fresh_session_seed() if arguments.seed is None else arguments.seed
    found = []
    for one in mutants.carry_out(
        experiments,
        named,
        seeds=arguments.seeds,
        session_seed=seed,
        only_expected=arguments.only_expected,
        keep=Path("runs"),
        runtime=arguments.runtime,
        jobs=arguments.jobs,
    ):
        print(mutants.line(one), file=sys.stderr, flush=True)
        found.append(one)
    print(_json([vars(one) for one in found]) if arguments.json else mutants.table(found))
    wrong = mutants.wrong(found, named, experiments)
    if not arguments.json:
        for text in wrong or ["The sound target passed and every mutant was caught."]:
            print(text)
        print(f"Session seed {seed}.")
    return INVALID if wrong else DONE


def cleanup(arguments: argparse.Namespace) -> int:
    """Undo the clusters that nobody looks after any more, and those that were kept; then what is on
    the engine and in no ledger."""
    from harness.runtime.docker import leftovers
    from harness.runtime.ledger import find_left_over, undo

    left_over = find_left_over()
    stubborn = []
    for cluster in left_over:
        kept = "kept on purpose" if cluster.kept else "its harness is gone"
        has = f"{len(cluster.processes)} processes{', containers' if cluster.engine else ''}"
        what = f"{cluster.id} at {cluster.where} ({kept}, {has})"
        if arguments.dry_run:
            print(f"would remove {what}")
            continue
        try:
            left = undo(cluster)
        except BrokenError as error:
            stubborn.append(f"{what}: {error}")
            continue
        if left:
            ids = ", ".join(str(process.pid) for process in sorted(left))
            stubborn.append(f"{what}: {ids}")
        else:
            print(f"removed {what}")

    engine = leftovers.look()
    for remains in engine.forgotten:
        what = f"{remains.cluster} on {engine.where} (its ledger is gone, {remains.words})"
        if arguments.dry_run:
            print(f"would remove {what}")
        elif said := leftovers.forget(remains.cluster):
            stubborn.append("\n".join((f"{what}:", *said)))
        else:
            print(f"removed {what}")
    for remains, why in engine.spared:
        print(f"left alone {remains.cluster} on {engine.where} ({why}, {remains.words})")
    if not left_over and not engine.forgotten:
        print("Nothing is left over.")
    if stubborn:
        raise HarnessError(
            "Not all could be removed.",
            why="\n".join(stubborn),
            do="Run this again. If a process stays, look at it with ps: one in state D waits for a "
            "disk.",
        )
    return DONE


class _Parser(argparse.ArgumentParser):
    """argparse ends with status 2 for wrong use, which means `unknown` here."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}.", do=f"{self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="harness", description="Chaos and resilience testing, in pytest.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(run: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        command = commands.add_parser(run.__name__, help=about, description=about)
        command.set_defaults(run=run)
        return command

    command = add(doctor, "Say what works here, what is missing, and how to get it.")
    command.add_argument("--fetch", action="store_true", help="fetch Toxiproxy if it is missing")
    command.add_argument("--json", action="store_true", help="print JSON")

    command = add(check, "Judge a recorded history: exit 0 valid, 1 invalid, 2 unknown.")
    command.add_argument(
        "history", metavar="FILE", type=Path, nargs="?", help="a history, or the folder of a run"
    )
    command.add_argument(
        "--model",
        help="what to judge it by (`harness check` alone lists them), or module:Class",
    )
    command.add_argument("--format", default="auto", help="of the file; found out where left out")
    command.add_argument(
        "--independent", action="store_true", help="values are pairs of a key and the value itself"
    )
    command.add_argument(
        "--consistency-model", metavar="M", help="for transactions (strict-serializable)"
    )
    command.add_argument("--initial", metavar="JSON", help="what an object holds at first (null)")
    command.add_argument(
        "--with",
        metavar="NAME=JSON",
        dest="options",
        nargs="+",
        action="extend",
        default=[],
        help="further arguments of the check, e.g. linearizable_keys=true",
    )
    command.add_argument(
        "--timeout", metavar="S", type=float, default=30.0, help="seconds to decide in (30)"
    )
    command.add_argument(
        "--memory", metavar="SIZE", help="what it may use beside the history (half of what is free)"
    )
    command.add_argument("--svg", metavar="OUT", type=Path, help="draw the evidence")
    command.add_argument("--json", action="store_true", help="print JSON")

    command = add(runs, "List the recorded runs.")
    command.add_argument("--runs-dir", metavar="DIR", type=Path, default=Path("runs"))

    def runtime(command: argparse.ArgumentParser, default: str | None, otherwise: str) -> None:
        command.add_argument(
            "--runtime",
            choices=RUNTIMES,
            default=default,
            help=f"where nodes run ({otherwise})",
        )

    command = add(replay, "Carry out a recorded plan again, and say where it diverged.")
    command.add_argument(
        "recording", metavar="RUN", type=Path, help="a run's folder, its zip, or a plan"
    )
    command.add_argument(
        "--times", metavar="N", type=_count, default=1, help="how often; N tell how many fail alike"
    )
    command.add_argument(
        "--jobs", metavar="K", type=_count, default=2, help="with --times: K at a time (2)"
    )
    command.add_argument(
        "--exact",
        action="store_true",
        help="faults hit the nodes they hit, whoever holds the role now",
    )
    command.add_argument("--mutant", metavar="NAME", help="on that mutant of the target instead")
    command.add_argument("--runs-dir", metavar="DIR", type=Path, help="where runs go (runs)")
    runtime(command, None, "that of the recorded run")

    command = add(report, "Make the report of a run, of two side by side, or the overview of all.")
    command.add_argument("one", metavar="RUN", type=Path, nargs="?", help="the folder of a run")
    command.add_argument(
        "other",
        metavar="OTHER",
        type=Path,
        nargs="?",
        help="another run, to compare with the first",
    )
    command.add_argument("--index", action="store_true", help="the overview page of all runs")
    command.add_argument(
        "--inline", action="store_true", help="one file that needs none beside it, to be sent"
    )
    command.add_argument("--runs-dir", metavar="DIR", type=Path, default=Path("runs"))

    command = add(shrink, "Find the smallest plan that fails the same way.")
    command.add_argument(
        "recording", metavar="RUN", type=Path, help="a failed run's folder, its zip, or a plan"
    )
    command.add_argument("--runs", metavar="N", type=_count, help="spend N runs at most")
    command.add_argument(
        "--minutes", metavar="M", type=float, default=15.0, help="spend M minutes at most (15)"
    )
    command.add_argument("--jobs", metavar="K", type=_count, default=2, help="K runs at a time (2)")
    command.add_argument(
        "--exact",
        action="store_true",
        help="faults hit the nodes they hit, whoever holds the role now",
    )
    command.add_argument(
        "--keep", metavar="NAME", nargs="?", const="", help="keep the plan as a regression"
    )
    runtime(command, None, "that of the recorded run")

    command = add(keep, "Keep a plan as a regression: a test that pytest carries out from then on.")
    command.add_argument(
        "recording", metavar="RUN", type=Path, help="a run's folder (shrunk or not), or a plan"
    )
    command.add_argument("--name", help="of the file (made of the test and what was found)")

    command = add(export, "Make one file of a run, which replays on another machine.")
    command.add_argument("folder", metavar="RUN", type=Path, help="the folder of a run")
    command.add_argument("--to", metavar="FILE", type=Path, help="the zip to write (RUN.zip here)")

    add(targets, "List the targets of this project.")

    command = add(up, "Start a cluster and hold it up until Ctrl-C.")
    command.add_argument("target", metavar="TARGET", help="a name, or package.module:Class")
    command.add_argument("--nodes", metavar="N", type=int, help="how many (the target's own)")
    runtime(command, RUNTIMES[0], RUNTIMES[0])

    command = add(mutants, "Show that experiments catch the deliberate bugs of a target.")
    command.add_argument("target", metavar="TARGET", help="a name, or package.module:Class")
    runtime(command, RUNTIMES[0], RUNTIMES[0])
    command.add_argument("--list", action="store_true", help="only list them, and who catches them")
    command.add_argument(
        "--experiments",
        metavar="PATH",
        type=Path,
        nargs="+",
        default=[Path("experiments")],
        help="where the experiments are (experiments)",
    )
    command.add_argument(
        "--mutant", metavar="NAME", action="append", help="only this one; may be repeated"
    )
    command.add_argument(
        "--only-expected",
        action="store_true",
        help="only the experiments that say they catch a mutant, not the whole matrix",
    )
    command.add_argument(
        "--quick",
        action="store_true",
        help="only the quick experiments, and the mutants that they must catch",
    )
    command.add_argument("--seeds", metavar="K", type=int, default=1, help="seeds for each (1)")
    command.add_argument(
        "--jobs", metavar="K", type=_count, default=1, help="K mutants at a time (1)"
    )
    command.add_argument("--seed", metavar="N", type=int, help="the session's seed")
    command.add_argument("--json", action="store_true", help="print JSON")

    command = add(cleanup, "Remove what killed sessions and kept clusters left behind.")
    command.add_argument("--dry-run", action="store_true", help="only list what would be removed")

    return parser


def _judge(arguments: argparse.Namespace) -> Check:
    """The check that the arguments ask for, by name or by the class of a model."""
    from harness.check import linearizable
    from harness.check.named import check_named

    model, initial = arguments.model, _initial(arguments.initial)
    limits: dict[str, Any] = {
        "timeout": arguments.timeout,
        "memory": None if arguments.memory is None else _bytes(arguments.memory),
    }
    if ":" in model:
        from harness.catalogue import thing_named

        if arguments.consistency_model is not None or arguments.options:
            raise UsageError(
                f"{model} takes neither --consistency-model nor --with.",
                do="Write what it needs into the class.",
            )
        if initial is not None:
            raise UsageError(f"{model} takes no --initial.", do="Set `initial` in the class.")
        return linearizable(thing_named(model), **limits)
    return check_named(
        model,
        consistency_model=arguments.consistency_model,
        initial=initial,
        options=_options(arguments.options),
        **limits,
    )


def _count(text: str) -> int:
    """A whole number from 1."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _initial(text: str | None) -> Any:
    if text is None or text == "nil":  # (as Jepsen writes it)
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(
            f"--initial {text!r} is no JSON.", why=str(error), do="""Write e.g. --initial '"a"'."""
        ) from None


def _options(texts: Sequence[str]) -> dict[str, Any]:
    """Names with their values: JSON, or else texts."""
    options = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--with {text!r} gives no value.", do="Write e.g. --with limit=100.")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options


def _bytes(text: str) -> int:
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].upper() in units else (text, "")
    try:
        return int(float(number) * units.get(unit, 1))
    except (ValueError, OverflowError):
        raise UsageError(f"--memory {text!r} is no size.", do="Write e.g. --memory 2G.") from None


def _models(names: Mapping[str, str]) -> str:
    width = max(map(len, names))
    return "\n".join(f"{name:<{width}}  {about}" for name, about in names.items())


def _draw(verdict: Verdict, history: History, path: Path) -> None:
    from harness.check.drawing import draw

    picture = draw(verdict, history)
    if picture is None:
        sys.stderr.write("The verdict names no ops that could be drawn.\n")
        return
    try:
        path.write_text(picture, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written.", why=str(error)) from None


def _told(verdict: Verdict) -> dict[str, Any]:
    """What `harness check --json` prints: the contract first, then what else there is to know."""
    result: bool | str = "unknown" if verdict.result == "unknown" else verdict.valid
    return {
        "valid": result,
        "anomalies": verdict.anomalies,
        "not": verdict.data.get("not", []),
        "also-not": verdict.data.get("also_not", []),
        "evidence": {"text": verdict.evidence_lines, **_without(verdict.data, *_ABOVE)},
        "ops": verdict.ops,
        "seconds": round(verdict.seconds, 6),
        "check": verdict.check,
        "model": verdict.model,
        "summary": verdict.summary,
    }


_ABOVE = ("anomalies", "not", "also_not")


def _without(data: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in names}


def _run_line(identity: dict[str, Any]) -> str:
    outcome = identity.get("outcome") or "unfinished"
    duration_s = identity.get("duration_s")
    took = f"{duration_s:.1f} s" if isinstance(duration_s, int | float) else ""
    return f"{outcome:<10} {took:>8}"


def _json(data: Any) -> str:
    return json.dumps(data, indent=2, default=str)
