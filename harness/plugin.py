"""The pytest entry point: options, markers, fixtures and reporting.

Loaded in every pytest session of an environment that has the harness installed, so it imports
nothing of the engine until an experiment is set up.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness import seeds
from harness.errors import AbortedError, HarnessError, MissingPartError, UsageError
from harness.reporting import (
    failed_runs,
    harness_error,
    headline,
    list_runs,
    message,
    replay_command,
    short_path,
    story,
    summary,
)
from harness.settings import Settings, add_options, settings_of
from harness.version import harness_version

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from harness.declare import Experiment
    from harness.engine import Run
    from harness.plan import Plan
    from harness.portal import Portal
    from harness.replay.recorded import Recording
    from harness.steps import ClientSteps, ClusterSteps, NemesisSteps

IMPORTED = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
"""For who calls `pytest.main` with the harness already imported: that it could not be rewritten
does not matter."""

WORKER = "HARNESS_WORKER_PIPES"
"""Set in the environment of workers that carry out plans for replays (`harness.replay.workers`)."""

SEED_NUMBER = "chaos_seed_number"
"""The fixture that `--chaos-seeds` parametrizes; not for use in tests."""


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


@dataclass
class Session:
    """What the plugin keeps while pytest runs."""

    settings: Settings
    portal: Portal | None = None
    recording: Recording | None = None
    """What `--chaos-replay` names, once it was read."""
    parent: int = field(default_factory=os.getppid)


SESSION = pytest.StashKey[Session]()
RUN = pytest.StashKey["Run"]()


def pytest_configure(config: pytest.Config) -> None:
    for marker in (
        "quick: experiments that together finish within a minute",
        "soak: experiments that take long; deselect with -m 'not soak'",
        "requires(*programs): skip where one of these programs is not on PATH",
        "chaos(seed, seeds, scale): settings of one experiment; the command line wins",
    ):
        config.addinivalue_line("markers", marker)
    config.stash[SESSION] = Session(settings_of(config))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give each xdist worker the session's seed; which one runs a test then changes nothing."""
    node.workerinput["chaos_seed"] = node.config.stash[SESSION].settings.seed


def pytest_report_header(config: pytest.Config) -> list[str]:
    from harness.parts import TOXIPROXY, find

    settings = config.stash[SESSION].settings
    try:
        toxiproxy = f"toxiproxy {find(TOXIPROXY).version}"
    except HarnessError:
        toxiproxy = "toxiproxy missing"
    what = f"replay of {settings.replay}" if settings.replay else f"--chaos-seed {settings.seed}"
    mutant = f", mutant {settings.mutant}" if settings.mutant else ""
    lines = [
        f"chaos: {what}{mutant}, runtime {settings.runtime}, harness {harness_version()}, "
        f"{toxiproxy}"
    ]
    if config.inipath is None:
        lines.append(
            "chaos: there is no ini file, so that names of tests, and with them seeds, depend on "
            "how pytest is called; an empty pytest.ini will do"
        )
    return lines


# Collection


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A plan that is kept in a folder `regressions` is a test of its own."""
    if file_path.suffix != ".json":
        return None
    from harness.replay.regressions import Regression, holds_plan

    return Regression.from_parent(parent, path=file_path) if holds_plan(file_path) else None


def is_regression(item: pytest.Item) -> bool:
    """Whether a test is a plan that is kept."""
    if item.path.suffix != ".json":
        return False
    from harness.replay.regressions import regression_of

    return regression_of(item) is not None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if not hasattr(metafunc.function, "__chaos_experiment__"):
        return
    replay = metafunc.config.stash[SESSION].settings.replay or WORKER in os.environ
    if replay or is_regression(metafunc.definition):
        return
    count = metafunc.config.stash[SESSION].settings.seeds
    if count == 1:
        marker = metafunc.definition.get_closest_marker("chaos")
        count = marker.kwargs.get("seeds", 1) if marker else 1
    if count > 1:
        metafunc.fixturenames.append(SEED_NUMBER)
        ids = [f"seed{number}" for number in range(1, count + 1)]
        metafunc.parametrize(SEED_NUMBER, range(count), ids=ids)


def experiment_id(nodeid: str) -> str:
    """The id of an experiment: that of its test without what `--chaos-seeds` added."""
    name, bracket, parameters = nodeid.partition("[")
    kept = [p for p in parameters.removesuffix("]").split("-") if not re.fullmatch(r"seed\d+", p)]
    return f"{name}[{'-'.join(kept)}]" if bracket and kept else name


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if others := [item for item in items if is_regression(item) and not _is_of_its_plan(item)]:
        items[:] = [item for item in items if item not in others]
    replay = config.stash[SESSION].settings.replay
    if replay is None:
        # What failed before is tried first. The sort keeps all other orders.
        items.sort(key=lambda item: not is_regression(item))
        return
    from harness.replay.recorded import read_recording

    try:
        recording = read_recording(replay)
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[SESSION].recording = recording
    wanted = recording.plan.experiment
    chosen = [item for item in items if experiment_id(item.nodeid) == wanted]
    if not chosen and getattr(config, "workerinput", None) is None:
        raise pytest.UsageError(
            f"{replay} is of {wanted}, which is not among the tests collected here.\n"
            f"Do: harness replay {replay}"
        )
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """An experiment that cannot be meant is one message with the line it stands in."""
    report = yield
    call = getattr(report, "call", None)
    if report.failed and call is not None and call.excinfo is not None:
        error = harness_error(call.excinfo.value)
        if error is not None:
            report.longrepr = message(error, call.excinfo)
    return report


def _is_of_its_plan(item: pytest.Item) -> bool:
    """Whether a test under a regression is the plan's experiment: a class brings all of its."""
    from harness.replay.regressions import regression_of

    regression = regression_of(item)
    return regression is None or regression.names(item)


# Fixtures


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """The finished run of a declared experiment: `run.expect(check)` judges its history."""
    from harness.engine import perform

    with _live(request, perform) as live:
        yield live


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Iterator[ClusterSteps]:
    """The started cluster of a step-by-step experiment."""
    from harness.engine import Run
    from harness.steps import ClusterSteps

    with _live(request, Run.up) as live:
        yield ClusterSteps(live, _portal(request.config))


@pytest.fixture
def nemesis(request: pytest.FixtureRequest, cluster: ClusterSteps) -> NemesisSteps:
    """Faults as context managers on the started cluster."""
    from harness.steps import NemesisSteps

    return NemesisSteps(cluster.run, _portal(request.config))


@pytest.fixture
def client(request: pytest.FixtureRequest, cluster: ClusterSteps) -> Iterator[ClientSteps]:
    """A recorded client of the started cluster, connected to the first node."""
    from harness.steps import ClientSteps

    kind = cluster.run.experiment.client_kind
    if kind is None:
        with _told_as_pytest_does(request):
            raise UsageError(
                f"{request.node.name} takes `client`, but its experiment names none.",
                do="Add client=MyClient (or a workload) to @experiment.",
            )
    steps = ClientSteps(cluster.run, _portal(request.config), kind)
    yield steps
    steps.close()


@contextmanager
def _live(
    request: pytest.FixtureRequest, work: Callable[[Run], Coroutine[Any, Any, None]]
) -> Iterator[Run]:
    """Begin a run, do `work` on it, let the test have it, and take everything down."""
    from harness.client_log import client_log
    from harness.portal import sigterm_interrupts

    portal = _portal(request.config)
    with sigterm_interrupts():
        with _told_as_pytest_does(request):
            live = _begin(request)
            try:
                with (
                    _progress(request, live) as show,
                    _operator(request, live) as listen,
                    client_log(live.folder.clients_log),
                ):

                    def meanwhile() -> None:
                        show()
                        listen()
                        _require_controller(request.config)

                    portal.call(work(live), meanwhile)
            except BaseException as error:
                interrupted = isinstance(error, KeyboardInterrupt)
                reason = "Interrupted." if interrupted else str(error)
                live.settle("aborted" if interrupted else "broken", reason)
                _finish(request, live)
                if isinstance(error, MissingPartError) and not live.recorder.ops:
                    _forget(request, live)
                raise
        request.node.stash[RUN] = live
        try:
            yield live
        finally:
            with _told_as_pytest_does(request):
                _finish(request, live)


def _require_controller(config: pytest.Config) -> None:
    """Interrupt a worker whose controller was killed: nobody will hear of its tests, and xdist
    itself ends one of its own only when it next wants to tell of one."""
    parent = config.stash[SESSION].parent
    if WORKER in os.environ:
        # Whoever it was may have been killed before this process could look.
        parent = int(os.environ[WORKER].rpartition(",")[2])
    elif getattr(config, "workerinput", None) is None:
        return
    if os.getppid() != parent:
        raise KeyboardInterrupt


@contextmanager
def _told_as_pytest_does(request: pytest.FixtureRequest) -> Iterator[None]:
    """Errors of the harness become pytest's: one message, a skip where a part is missing."""
    try:
        yield
    except MissingPartError as error:
        request.node.user_properties.append(("chaos_skipped", str(error)))
        raise pytest.skip.Exception(str(error)) from None
    except HarnessError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


def _portal(config: pytest.Config) -> Portal:
    session = config.stash[SESSION]
    if session.portal is None:
        from harness.portal import Portal

        session.portal = Portal()
    return session.portal


def _begin(request: pytest.FixtureRequest) -> Run:
    """Make the plan and the folder of the run that this test asks for."""
    from harness.course import STOP_FILE
    from harness.declare import experiment_of
    from harness.engine import Run
    from harness.parts import find
    from harness.record.folder import RunFolder

    item, config = request.node, request.config
    experiment = experiment_of(request.function)
    if experiment is None:
        raise UsageError(
            f"{item.name} takes the fixture {request.fixturename!r}, but is no experiment.",
            do="Decorate it with @experiment(target=…).",
        )
    settings = config.stash[SESSION].settings
    in_images = experiment.target.parts if settings.runtime == "docker" else ()
    for part in experiment.parts:
        if part not in in_images:
            find(part)
    recording = _recording(item)
    mutant = settings.mutant
    if mutant is None and recording is not None:
        mutant = recording.plan.target.get("mutant")
    if mutant is not None:
        target = dataclasses.replace(experiment.target, mutant=mutant)
        experiment = dataclasses.replace(experiment, target=target)
    if recording is not None:
        plan = _recorded_plan(recording, experiment, request, exact=settings.exact)
        if plan.load is None and plan.workload is not None:
            experiment = dataclasses.replace(experiment, load=None)
    else:
        plan = _fresh_plan(item, experiment, settings)
    if (stop := settings.runs_dir / STOP_FILE).exists():
        raise AbortedError(f"There is a file {stop}.", do="Remove it to let experiments run.")
    folder = RunFolder.create(settings.runs_dir, plan.experiment, plan.seed)
    # A replay of a replay is one of what was recorded first.
    again = recording.path if recording is not None and WORKER not in os.environ else folder.path
    options = {}
    if recording is not None and settings.runtime != recording.runtime:
        options["runtime"] = settings.runtime
    if recording is not None and mutant not in (None, recording.plan.target.get("mutant")):
        options["mutant"] = mutant
    repeat = replay_command(plan.experiment, again, options, config)
    live = Run(
        experiment,
        plan,
        folder,
        repeat,
        keep_failed=settings.keep_failed,
        runtime=settings.runtime,
        regression=short_path(item.path, config) if is_regression(item) else None,
        recording=None if recording is None else short_path(recording.path, config),
    )
    told = item.user_properties
    told += [("chaos_seed", plan.seed), ("chaos_run", str(folder.path))]
    told.append(("chaos_experiment", experiment_id(item.nodeid)))
    return live


def _recording(item: pytest.Item) -> Recording | None:
    """What this test is to carry out again: a regression's plan, or what `--chaos-replay` names."""
    from harness.replay.regressions import RECORDING, regression_of

    if (own := item.stash.get(RECORDING, None)) is not None:
        return own  # (that of a worker)
    if is_regression(item) and (regression := regression_of(item)) is not None:
        return regression.recording
    return item.config.stash[SESSION].recording


def _recorded_plan(
    recording: Recording, experiment: Experiment, request: pytest.FixtureRequest, *, exact: bool
) -> Plan:
    from harness.replay.recorded import pinned, plan_of
    from harness.replay.validity import require_valid

    require_valid(recording.plan, experiment, recording.path)
    if request.fixturename == "run":
        return plan_of(recording, exact=exact)
    # Step-by-step experiments do what they do; what was invoked then is no script of theirs.
    return pinned(recording) if exact else recording.plan


def _fresh_plan(item: pytest.Item, experiment: Experiment, settings: Settings) -> Plan:
    from harness.plan import make_plan

    config, name = item.config, experiment_id(item.nodeid)
    marker = item.get_closest_marker("chaos")
    marked = marker.kwargs if marker else {}
    callspec = getattr(item, "callspec", None)
    number = callspec.params.get(SEED_NUMBER, 0) if callspec is not None else 0
    root = settings.seed
    if "seed" in marked and config.getoption("--chaos-seed") is None:
        root = marked["seed"]
    scale = settings.scale
    if "scale" in marked and config.getoption("--chaos-scale") is None:
        scale = marked["scale"]
    return make_plan(experiment, name, seeds.own_seed(root, name, number), scale)


def _forget(request: pytest.FixtureRequest, live: Run) -> None:
    """Of a run that could not begin nothing is kept: its test is skipped."""
    import shutil

    shutil.rmtree(live.folder.path, ignore_errors=True)
    told = request.node.user_properties
    told[:] = [one for one in told if not one[0].startswith("chaos_")]


def _finish(request: pytest.FixtureRequest, live: Run) -> None:
    """Take down what is still up, complete the folder, and tell whoever reads the reports."""
    from harness.failure import failures
    from harness.replay.compare import side_by_side

    try:
        _portal(request.config).call(live.down())
    except HarnessError as error:
        live.settle("broken", str(error))
        raise
    finally:
        live.end(*live.conclusion())
        told = request.node.user_properties
        if WORKER not in os.environ:  # (who has workers make many runs wants few of them told)
            told.append(("chaos_report", _report(live)))
        told.append(("chaos_outcome", live.outcome))
        told.append(("chaos_mutant", live.experiment.target.mutant or ""))
        told.append(("chaos_summary", summary(live)))
        found = failures(live.folder)
        told.append(("chaos_failure", str(found[0]) if found else ""))
        first = live.reason.partition("\n")[0]
        told.append(("chaos_reason", "" if live.outcome == "passed" else first[:120]))
        told.append(("chaos_seconds", live.recorder.now() / 1e9))
        recording = _recording(request.node)
        if recording is not None and recording.folder is not None:
            lines = side_by_side(recording.folder.path, live.folder.path)
            told.append(("chaos_divergences", "\n".join(lines)))


def _line_of(error: BaseException, file: Path) -> str | None:
    """The line of the test's file from which `error` came."""
    import linecache
    import traceback

    lines = [
        linecache.getline(frame.filename, frame.lineno or 0).strip()
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(file)
    ]
    return lines[-1] if lines else None


def _report(live: Run) -> str:
    """Make the run's report; what is wrong with it where that fails, which must not decide about
    the test."""
    from harness.report import write
    from harness.reporting import failed_report

    try:
        write(live.folder)
    except Exception as error:
        return failed_report(error)
    return ""


# The verdict of a test


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """After the test said what must hold: fail it unless everything did."""
    live = pyfuncitem.stash.get(RUN, None)
    if live is None:
        return (yield)
    try:
        result = yield
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            live.settle("aborted", "Interrupted.")
        elif not isinstance(error, pytest.skip.Exception):
            live.settle("failed", f"{type(error).__name__}: {error}")
            live.raised = _line_of(error, pyfuncitem.path)
            pyfuncitem.add_report_section("call", "chaos run", story(live))
        raise
    live.tested = True
    outcome, reason = live.conclusion()
    if outcome != "passed":
        live.settle(outcome, reason)
        # What the checks found is told below, with its evidence.
        first = reason if not live.verdicts or outcome != "failed" else headline(live)
        mutant = live.experiment.target.mutant
        where = f" (on the mutant {mutant})" if mutant else ""
        pytest.fail(f"{outcome}{where}: {first}\n\n{story(live)}", pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """An error of the harness in the body of a test is one message with the user's line."""
    report = yield
    if report.failed and call.excinfo is not None:
        error = call.excinfo.value
        if isinstance(error, HarnessError):
            report.longrepr = message(error, call.excinfo)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    import shutil

    for marker in item.iter_markers("requires"):
        for program in marker.args:
            if shutil.which(program) is None:
                pytest.skip(f"{program} is not on PATH")


def pytest_unconfigure(config: pytest.Config) -> None:
    session = config.stash.get(SESSION, None)
    if session is not None and session.portal is not None:
        session.portal.close()


# The terminal


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    if getattr(config, "workerinput", None) is not None:
        return  # (xdist's controller tells)
    list_runs(terminalreporter, config)
    if config.stash[SESSION].settings.shrink:
        _shrink_failures(terminalreporter, config)


def _shrink_failures(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Shrink the plan of the first run of each failure."""
    from harness.replay.recorded import read_recording
    from harness.shrink.judge import Budget
    from harness.shrink.recordings import Options, shrink_folder, shrink_recording

    budget = Budget(seconds=60 * config.stash[SESSION].settings.shrink_minutes)
    first: dict[tuple[str, str], Path] = {}
    for told in failed_runs(terminalreporter):
        named = str(told["chaos_experiment"]), str(told["chaos_failure"])
        first.setdefault(named, Path(str(told["chaos_run"])))
    for (experiment, failure), path in first.items():
        terminalreporter.section(f"shrinking {experiment.rpartition('::')[2]}")
        terminalreporter.write_line(failure)
        recording = read_recording(path)
        options = Options(budget=budget, runtime=recording.runtime)
        try:
            shrunk = shrink_recording(
                recording, config.rootpath, options, terminalreporter.write_line
            )
        except HarnessError as error:
            terminalreporter.write_line(str(error), red=True)
            continue
        terminalreporter.write_line(f"\n{shrunk}")
        if shrunk.reproduced:
            plan = short_path(shrink_folder(recording) / "plan.json", config)
            terminalreporter.write_line(f"Plan: {plan} (harness keep makes it a regression)")


@contextmanager
def _operator(request: pytest.FixtureRequest, live: Run) -> Iterator[Callable[[], None]]:
    """Lets the person at the terminal stop a run with a key."""
    from harness.operator import KeyPresses

    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not reporter.isatty:
        yield lambda: None
        return
    with KeyPresses() as keys:

        def listen() -> None:
            if keys.stop_pressed():
                live.ask_to_stop("q was pressed")

        yield listen


class _progress:  # noqa: N801  a context manager
    """Shows a run in the terminal as it happens: lines for phases and faults, and on a terminal
    one line at the bottom that is written over. Workers of xdist have no terminal."""

    def __init__(self, request: pytest.FixtureRequest, live: Run) -> None:
        self._config = request.config
        self._live = live
        self._shown: Any = None

    def __enter__(self) -> Any:
        from harness.progress import Progress

        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        worker = getattr(self._config, "workerinput", None) is not None
        if reporter is None or worker or reporter.verbosity < 0:
            return lambda: None
        self._shown = Progress(reporter, self._config.pluginmanager.get_plugin("capturemanager"))
        self._live.journal.listeners.append(self._shown.hear)
        return self._shown.show

    def __exit__(self, *_: object) -> None:
        if self._shown is not None:
            self._shown.show()
            self._shown.clear()
