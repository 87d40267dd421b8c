"""`ClusterMachine`: a state machine of Hypothesis whose rules are ops of clients, and faults."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from hypothesis import note
from hypothesis import settings as Settings  # noqa: N812  a class
from hypothesis import strategies as st
from hypothesis.control import current_build_context
from hypothesis.errors import HypothesisException, StopTest, UnsatisfiedAssumption
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition

from harness.check.verdict import Check, Result, Verdict
from harness.errors import UsageError
from harness.faults import Fault
from harness.history import History, Op
from harness.target import Target
from harness.units import Duration, milliseconds, seconds, to_seconds
from harness.workload import Client, Request

if TYPE_CHECKING:
    from harness.engine import Run
    from harness.machine.bridge import Bridge
    from harness.machine.explore import Exploration
    from harness.machine.stage import Injected, Stage

T = TypeVar("T")

LONGEST_PASSING_MS = 400
"""The most time that one step lets pass. Elections and time-outs take several such steps."""

_NOT_COUNTED = (StopTest, UnsatisfiedAssumption, HypothesisException)


class _NoTestCase:
    """`TestCase` of a machine that needs a cluster."""

    def __get__(self, machine: object, kind: type) -> Any:
        raise AttributeError(
            f"{kind.__name__}.TestCase knows no cluster: write "
            f"test_{kind.__name__.lower()} = {kind.__name__}.experiment()"
        )


class ClusterMachine(RuleBasedStateMachine):
    """Rules over a live cluster. Subclass it, name `target` and `client`, write rules that invoke
    ops with `begin` or `op`, say in `check` what must hold, and make a test of it with
    `experiment`. Rules, bundles, preconditions and invariants are Hypothesis's own.

    Between rules the `faults` come and go, drawn by Hypothesis as well.
    """

    __test__ = False
    TestCase = _NoTestCase()

    target: ClassVar[Target]
    """What is started, once for all examples."""

    client: ClassVar[type[Client]]
    """What talks to it."""

    faults: ClassVar[Sequence[Fault]] = ()
    """What comes between the rules, each any number of times; without times of their own."""

    faults_at_once: ClassVar[int] = 2
    """How many of them may be in force together."""

    clients: ClassVar[int | None] = None
    """How many clients there are; client *c* talks to node *c mod n*. None: two for each node."""

    op_timeout: ClassVar[Duration] = seconds(1)
    """How long an op may take."""

    recovery: ClassVar[Duration] = seconds(15)
    """Within what time every node must answer after the healing, and give the final reads."""

    final: ClassVar[Sequence[str | Request] | None] = None
    """The final reads of each example, asked of every node: the name of a read is asked about every
    key of the example, a `Request` as it is. None: `read`, if the client has it."""

    def __init__(self) -> None:
        super().__init__()
        self._run: Run | None = None
        self._stage: Stage | None = None
        self._bridge: Bridge | None = None
        self._exploration: Exploration | None = None
        self._in_force: list[Injected] = []
        self._kinds: list[int] = []
        self._due = False
        self._resetting = False
        self._fresh = 0

    # What rules do

    def begin(
        self,
        f: str,
        key: Any = None,
        *values: Any,
        client: int | None = None,
        node: str | None = None,
        **named: Any,
    ) -> None:
        """Begin an op and go on: the next rule, an op of another client or a fault, comes while it
        is under way. A client that still waits for an answer begins it after that.

        Which client invokes it is drawn, among those of `node` if that is given.
        """
        stage, bridge = self.on_stage()
        number = self._client(client, node)
        self._due = True
        bridge.call(stage.begin_op(number, self._request(f, key, values, named)))

    def op(
        self,
        f: str,
        key: Any = None,
        *values: Any,
        client: int | None = None,
        node: str | None = None,
        **named: Any,
    ) -> Op:
        """An op and its end, as it stands in the history; never raises for how it ended. Under
        faults it may take until `op_timeout`."""
        stage, bridge = self.on_stage()
        number = self._client(client, node)
        self._due = True
        return bridge.call(stage.op(number, self._request(f, key, values, named)))

    def settle(self) -> None:
        """Wait until every op that was begun has ended."""
        stage, bridge = self.on_stage()
        bridge.call(stage.settle())

    def fresh(self) -> int:
        """1, 2, 3 …: values that are written once only, so that a read tells which write it saw."""
        self._fresh += 1
        return self._fresh

    # What users may define

    def reset(self) -> None:
        """Make the cluster as good as new, before each example but the first. By default nothing is
        done: the keys of an example (those that are strings) begin with its number, which is fresh
        ground for stores of keys. Ops that are invoked here are not judged."""

    def check(self) -> None:
        """Say what must hold, with `self.expect(…)`, once an example is over: everything is healed
        and the final reads are answered. Also judges a plan that is carried out again."""
        raise NotImplementedError

    def expect(self, check: Check, *, verdict: Result = "valid") -> Verdict:
        """Judge the ops of this example. With `verdict="invalid"` some example must show the flaw,
        and the first that does is kept."""
        assert self._run is not None, "called by check()"
        return self._run.expect(check, verdict=verdict)

    @property
    def history(self) -> History:
        """The ops of this example so far."""
        assert self._run is not None, "the example was begun"
        return self._run.history

    # The nemesis

    @precondition(lambda self: self._due)
    @invariant()
    def take_turn(self) -> None:
        """After each rule that invoked ops the nemesis has a turn: mostly it does nothing, else it
        injects one of `faults`, heals one, or lets time pass with what is in force.

        It is no rule, for Hypothesis leaves out some of the rules in each example: then many have
        no faults at all, and some nothing else.
        """
        self._due = False
        if not self.faults:
            return
        turn = _draw(st.sampled_from(_turns(len(self._in_force), self.faults_at_once)))
        if turn == "inject":
            if not self._kinds:
                numbers = st.sampled_from(range(len(self.faults)))
                self._kinds = _draw(st.lists(numbers, min_size=1, unique=True))
            self.inject(self.faults[_draw(st.sampled_from(self._kinds))])
        elif turn == "heal":
            self.heal(self._in_force[_draw(st.integers(0, len(self._in_force) - 1))])
        elif turn == "pass":
            self.let_time_pass(milliseconds(_draw(st.integers(1, LONGEST_PASSING_MS))))

    def inject(self, fault: Fault) -> Injected:
        """Inject a fault; what is random in it is drawn. It is in force until it is healed, or the
        example ends."""
        stage, bridge = self.on_stage()
        injected = bridge.call(stage.inject(fault, _draw(st.integers(0, 99))))
        note(f"injected {injected.fault.describe()}")
        if injected.fault.lasts:
            # Also where it was left out: what may be drawn next must not depend on the cluster.
            self._in_force.append(injected)
        return injected

    @property
    def in_force(self) -> tuple[Injected, ...]:
        """The faults that were injected and not healed, oldest first; for preconditions."""
        return tuple(self._in_force)

    def heal(self, injected: Injected) -> None:
        """Heal what `inject` injected. Does nothing if it was healed before."""
        stage, bridge = self.on_stage()
        if injected in self._in_force:
            self._in_force.remove(injected)
        bridge.call(stage.heal(injected))
        note(f"healed {injected.fault.describe()}")

    def let_time_pass(self, time: Duration) -> None:
        """Do nothing for a while, so that what is in force takes effect."""
        stage, bridge = self.on_stage()
        bridge.call(stage.wait(to_seconds(time, "let_time_pass")))

    # How it becomes a test

    @classmethod
    def experiment(
        cls,
        *,
        examples: int = 10,
        steps: int = 20,
        settings: Settings | None = None,
        catches: Mapping[str, str] | None = None,
        may_catch: Mapping[str, str] | None = None,
    ) -> Callable[..., None]:
        """A pytest test that starts the target once and carries out `examples` of up to `steps`
        rules each on it; `--chaos-scale` multiplies the examples. The first example that fails is
        kept as the run's plan.

        `settings` are Hypothesis's (a database, verbosity); shrinking is left to `harness shrink`.
        `catches` and `may_catch` are those of `@experiment`.
        """
        from harness.machine.explore import as_test

        return as_test(cls, examples, steps, settings, dict(catches or {}), dict(may_catch or {}))

    @classmethod
    def judging(cls, run: Run) -> ClusterMachine:
        """A machine that only judges a run, with `check`."""
        machine = cls()
        machine._run = run
        return machine

    def bind(self, exploration: Exploration, stage: Stage, bridge: Bridge) -> None:
        """Begin an example on a started cluster; called by the exploration."""
        self._run, self._stage, self._bridge = stage.run, stage, bridge
        self._exploration = exploration
        if stage.number:
            bridge.call(stage.prepare())
            self._resetting = True
            self.reset()
            bridge.call(stage.settle())
            self._resetting = self._due = False
        bridge.call(stage.begin())

    def teardown(self) -> None:
        """End the example and judge it. Hypothesis calls this after the last rule, and on every
        other way out."""
        if self._exploration is None:
            return
        error = sys.exception()
        if isinstance(error, _NOT_COUNTED):
            self._exploration.abandon_example(self)
        elif error is None or isinstance(error, Exception):
            self._exploration.conclude_example(self, error)
        # Else somebody interrupted, and heals everything.

    def on_stage(self) -> tuple[Stage, Bridge]:
        """The cluster, and the way to it. Raises `UsageError` for a machine that has none."""
        if self._stage is None or self._bridge is None:
            raise UsageError(
                f"{type(self).__name__} has no cluster.",
                do=f"Run the test that {type(self).__name__}.experiment() makes.",
            )
        return self._stage, self._bridge

    # Helpers

    def _client(self, client: int | None, node: str | None) -> int:
        stage, _ = self.on_stage()
        count, names = stage.clients, stage.names
        if client is not None:
            if not 0 <= client < count:
                raise UsageError(
                    f"There is no client {client!r}.", do=f"There are 0 to {count - 1}."
                )
            return client
        if node is not None and node not in names:
            raise UsageError(f"There is no node {node!r}.", do=f"Nodes: {', '.join(names)}.")
        of_node = [n for n in range(count) if node is None or names[n % len(names)] == node]
        # Not every example begins with a reset: what it drew would make examples differ.
        return of_node[0] if self._resetting else _draw(st.sampled_from(of_node))

    def _request(
        self, f: str, key: Any, values: tuple[Any, ...], named: Mapping[str, Any]
    ) -> Request:
        stage, _ = self.on_stage()
        own = f"{stage.prefix}{key}" if isinstance(key, str) else key
        return Request(f, own, values, named or None)


def _turns(in_force: int, at_once: int) -> list[str]:
    """What the nemesis may do, the simplest first; named several times what is likelier."""
    if not in_force:
        return ["nothing"] * 6 + ["inject"]
    return ["nothing"] * 6 + ["pass", "heal"] + ["inject"] * (in_force < at_once)


def _draw(strategy: st.SearchStrategy[T]) -> T:
    """Draw from within a rule, as `st.data()` does: Hypothesis knows of it and repeats it."""
    return current_build_context().data.draw(strategy)
