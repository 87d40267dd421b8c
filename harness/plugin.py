"""The pytest entry point: options, markers, fixtures and reporting.

Loaded in every pytest session of an environment that has the harness installed, so it imports
nothing of the engine until an experiment is set up.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness import seeds
from harness.errors import HarnessError, MissingPartError, UsageError
from harness.history import MISMATCH

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from harness.engine import Run
    from harness.portal import Portal
    from harness.steps import ClientSteps, ClusterSteps, NemesisSteps

RUNTIMES = ("process",)

SEED_NUMBER = "chaos_seed_number"
"""The fixture that `--chaos-seeds` parametrizes; not for use in tests."""


# Options


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("chaos", "chaos and resilience experiments")

    def option(name: str, help: str, **kwargs: Any) -> None:
        group.addoption(f"--chaos-{name}", default=None, help=help, **kwargs)
        parser.addini(f"chaos_{name.replace('-', '_')}", help)

    option("runtime", "where nodes run", choices=RUNTIMES)
    option("seed", "the session's seed, or a run's own seed to repeat it", metavar="N")
    option("seeds", "carry out each experiment under K seeds", metavar="K")
    option("scale", "multiply the durations of experiments by X", metavar="X")
    option("replay", "carry out the recorded plan of the run in folder RUN", metavar="RUN")
    option("runs-dir", "where the folders of runs go (default: runs)", metavar="DIR")
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
    runtime: str = "process"
    runs_dir: Path = Path("runs")
    replay: Path | None = None
    keep_failed: bool = False


@dataclass
class Session:
    """What the plugin keeps while pytest runs."""

    settings: Settings
    portal: Portal | None = None


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
    config.stash[SESSION] = Session(_settings(config))


def _settings(config: pytest.Config) -> Settings:
    def given(name: str) -> Any:
        value = config.getoption(f"--chaos-{name}")
        if value is None or value is False:
            value = config.getini(f"chaos_{name.replace('-', '_')}")
        return value or None

    replay = given("replay")
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
        runtime=given("runtime") or "process",
        runs_dir=runs_dir if runs_dir.is_absolute() else config.rootpath / runs_dir,
        replay=config.invocation_params.dir / replay if replay else None,
        keep_failed=str(given("keep-failed") or "").lower() in ("1", "true", "yes"),
    )


def _number(text: Any, option: str, kind: type[Any], least: float) -> Any:
    try:
        number = kind(text)
    except ValueError:
        number = None
    if number is None or not least <= number < 2**53:
        what = "a whole number" if kind is int else "a number"
        raise pytest.UsageError(f"{option} must be {what} of at least {least:g}, not {text!r}.")
    return number


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
    return [f"chaos: {what}, runtime {settings.runtime}, harness {_version()}, {toxiproxy}"]


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("chaos-harness")
    except PackageNotFoundError:
        return "not installed"


# Collection


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if not hasattr(metafunc.function, "__chaos_experiment__"):
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
    replay = config.stash[SESSION].settings.replay
    if replay is None:
        return
    from harness.record.folder import RunFolder

    try:
        wanted = RunFolder(replay).read_identity()["experiment"]
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from None
    chosen = [item for item in items if experiment_id(item.nodeid) == wanted]
    if not chosen and getattr(config, "workerinput", None) is None:
        raise pytest.UsageError(
            f"{replay} is a run of {wanted}, which is not among the tests collected here.\n"
            f"Do: pytest {wanted} --chaos-replay {replay}"
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
        error = _cause(call.excinfo.value)
        if error is not None:
            report.longrepr = _message(error, call.excinfo)
    return report


def _cause(error: BaseException | None) -> HarnessError | None:
    while error is not None and not isinstance(error, HarnessError):
        error = error.__cause__
    return error


def _message(error: HarnessError, info: pytest.ExceptionInfo[BaseException]) -> str:
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


# Fixtures


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """The finished run of a declared experiment: `run.expect(check)` judges its history."""
    from harness.engine import perform

    with _harness_errors():
        live = _begin(request)
        portal = _portal(request.config)
        from harness.portal import sigterm_interrupts

        with _progress(request, live) as show, sigterm_interrupts():
            try:
                portal.call(perform(live), show)
            except BaseException as error:
                _conclude_broken(request, live, error)
                raise
    request.node.stash[RUN] = live
    try:
        yield live
    finally:
        with _harness_errors():
            portal.call(live.down())
            _finish(request, live)


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Iterator[ClusterSteps]:
    """The started cluster of a step-by-step experiment."""
    from harness.engine import uninterrupted
    from harness.portal import sigterm_interrupts
    from harness.steps import ClusterSteps

    with _harness_errors():
        live = _begin(request)
        portal = _portal(request.config)
        with _progress(request, live) as show, sigterm_interrupts():
            try:
                portal.call(live.up(), show)
            except BaseException as error:
                portal.call(uninterrupted(live.down()))
                _conclude_broken(request, live, error)
                raise
    request.node.stash[RUN] = live
    try:
        with sigterm_interrupts():
            yield ClusterSteps(live, portal)
    finally:
        with _harness_errors():
            portal.call(live.down())
            _finish(request, live)


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
        with _harness_errors():
            raise UsageError(
                f"{request.node.name} takes `client`, but its experiment names none.",
                do="Add client=MyClient (or a workload) to @experiment.",
            )
    steps = ClientSteps(cluster.run, _portal(request.config), kind)
    yield steps
    steps.close()


class _harness_errors:  # noqa: N801  a context manager
    """Errors of the harness become pytest's: one message, a skip where a part is missing."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, MissingPartError):
            raise pytest.skip.Exception(str(error)) from None
        if isinstance(error, HarnessError):
            raise pytest.fail.Exception(str(error), pytrace=False) from None


def _portal(config: pytest.Config) -> Portal:
    session = config.stash[SESSION]
    if session.portal is None:
        from harness.portal import Portal

        session.portal = Portal()
    return session.portal


def _begin(request: pytest.FixtureRequest) -> Run:
    """Make the plan and the folder of the run that this test asks for."""
    from harness.declare import experiment_of
    from harness.engine import Run
    from harness.parts import find
    from harness.plan import make_plan, read_plan
    from harness.record.folder import RunFolder

    item, config = request.node, request.config
    experiment = experiment_of(request.function)
    if experiment is None:
        raise UsageError(
            f"{item.name} takes the fixture {request.fixturename!r}, but is no experiment.",
            do="Decorate it with @experiment(target=…).",
        )
    for part in experiment.target.parts:
        find(part)
    settings = config.stash[SESSION].settings
    name = experiment_id(item.nodeid)
    if settings.replay:
        plan = read_plan(RunFolder(settings.replay).plan)
        repeat = f"pytest '{name}' --chaos-replay {_short(settings.replay, config)}"
    else:
        marker = item.get_closest_marker("chaos")
        marked = marker.kwargs if marker else {}
        number = getattr(item, "callspec", None) and item.callspec.params.get(SEED_NUMBER, 0)
        root = settings.seed
        if "seed" in marked and config.getoption("--chaos-seed") is None:
            root = marked["seed"]
        scale = settings.scale
        if "scale" in marked and config.getoption("--chaos-scale") is None:
            scale = marked["scale"]
        seed = seeds.own_seed(root, name, number or 0)
        plan = make_plan(experiment, name, seed, scale)
        repeat = ""
    folder = RunFolder.create(settings.runs_dir, name, plan.seed)
    repeat = repeat or f"pytest '{name}' --chaos-replay {_short(folder.path, config)}"
    live = Run(experiment, plan, folder, repeat, keep_failed=settings.keep_failed)
    for key, value in (("chaos_seed", plan.seed), ("chaos_run", str(folder.path))):
        item.user_properties.append((key, value))
    return live


def _short(path: Path, config: pytest.Config) -> str:
    """The path as a person at the project's root would type it."""
    resolved = path.resolve()
    root = config.rootpath.resolve()
    return str(resolved.relative_to(root) if resolved.is_relative_to(root) else resolved)


def _conclude_broken(request: pytest.FixtureRequest, live: Run, error: BaseException) -> None:
    if isinstance(error, KeyboardInterrupt):
        live.end("aborted", "Interrupted.")
    else:
        live.end("broken", str(error))
    _finish(request, live)


def _finish(request: pytest.FixtureRequest, live: Run) -> None:
    """Complete the folder and tell whoever reads the reports."""
    if not live.ended:
        live.end(*live.conclusion())
    item, config = request.node, request.config
    config_session = config.stash[SESSION]
    outcome = live.outcome or "unknown"
    item.user_properties.append(("chaos_outcome", outcome))
    item.user_properties.append(("chaos_summary", _summary(live)))
    if config_session.settings.replay:
        from harness.replay import divergences

        told = divergences(config_session.settings.replay, live.folder.path)
        item.user_properties.append(("chaos_divergences", "\n".join(told)))


def _summary(live: Run) -> str:
    counts = live.recorder.outcomes
    refused = sum(op.error == MISMATCH for op in live.recorder.ops)
    idle = [bite.id for bite in live.bites if not bite.bit]
    text = (
        f"{counts['ok']} ok, {refused} refused, {counts['fail'] - refused} failed, "
        f"{counts['info']} unknown; faults: {len(live.bites)}"
    )
    if idle:
        text += f", of which {', '.join(idle)} did not bite"
    if live.kept:
        text += "; cluster kept up, `harness cleanup` ends it"
    return text


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
            pyfuncitem.add_report_section("call", "chaos run", _story(live))
        raise
    live.tested = True
    outcome, reason = live.conclusion()
    if outcome != "passed":
        live.settle(outcome, reason)
        # What the checks found is told below, with its evidence.
        headline = reason if not live.verdicts or outcome != "failed" else _headline(live)
        pytest.fail(f"{outcome}: {headline}\n\n{_story(live)}", pytrace=False)
    return result


def _headline(live: Run) -> str:
    wrong = [found.check for found, hoped in live.verdicts if found.result != hoped]
    return f"{len(wrong)} of {len(live.verdicts)} checks: {', '.join(wrong)}"


def _story(live: Run) -> str:
    """What a person needs who meets this failure: verdicts, evidence, faults, where, how again."""
    from harness.record.bite import bites

    lines = []
    for found, hoped in live.verdicts:
        mark = "as expected" if found.result == hoped else f"expected {hoped}"
        lines.append(f"{found.check}: {found.result} ({mark}). {found.summary}")
        if found.evidence and found.result != hoped:
            # The first line of the evidence may be the summary again.
            evidence = [line for line in found.evidence.splitlines() if line != found.summary]
            lines += [f"  {line}" for line in evidence]
    if lines:
        lines.append("")
    told = bites(live.folder.journal, live.recorder.ops)
    if told:
        lines += ["Faults:", *(f"  {bite}" for bite in told)]
    lines += [
        f"Run:    {live.folder.path}",
        f"Seed:   {live.plan.seed}",
        f"Replay: {live.replay_command}",
    ]
    return "\n".join(lines)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """An error of the harness in the body of a test is one message with the user's line."""
    report = yield
    if report.failed and call.excinfo is not None:
        error = call.excinfo.value
        if isinstance(error, HarnessError):
            report.longrepr = _message(error, call.excinfo)
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
    """One line per run: outcome, seed, what it met, and its folder."""
    rows = []
    told = []
    for reports in terminalreporter.stats.values():
        for report in reports:
            if not isinstance(report, pytest.TestReport) or report.when != "teardown":
                continue
            properties = dict(report.user_properties)
            if "chaos_outcome" in properties:
                rows.append((str(properties["chaos_run"]), report.nodeid, properties))
            if properties.get("chaos_divergences"):
                told.append(str(properties["chaos_divergences"]))
    if not rows:
        return
    terminalreporter.section("chaos runs")
    for path, nodeid, properties in sorted(rows):
        outcome = str(properties["chaos_outcome"])
        colour = {"passed": "green", "failed": "red"}.get(outcome, "yellow")
        name = nodeid.rpartition("::")[2]
        terminalreporter.write(f"{outcome:<8}", **{colour: True})
        terminalreporter.write_line(f" {name} (seed {properties['chaos_seed']})")
        terminalreporter.write_line(f"         {properties['chaos_summary']}")
        terminalreporter.write_line(f"         {_short(Path(path), config)}")
    for text in told:
        terminalreporter.section("replay")
        terminalreporter.write_line(text)


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
