"""The checks of cluster on made-up runs: what they find, and what they call untested."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from harness.check import Verdict, rate_limit
from harness.history import MISMATCH, History, Op, Outcome
from harness.timeline import FaultSpan, LoadSample, Timeline
from targets.cluster.app.placement import best, ranked
from targets.cluster.everywhere import everywhere
from targets.cluster.limits import admitted, fails_fast, of_load
from targets.cluster.owners import journaled, one_owner

NODES = ("node-1", "node-2", "node-3")
WORKER = "worker-1"
HOME, OTHER, _LAST = ranked(WORKER, NODES)


class Story:
    """A history, told in order; times are seconds."""

    def __init__(self, *faults: FaultSpan) -> None:
        self.ops: list[Op] = []
        self.faults = faults
        self.load: list[LoadSample] = []

    def op(
        self,
        f: str,
        at: float,
        node: str = HOME,
        *,
        key: Any = None,
        value: Any = None,
        result: Any = None,
        outcome: Outcome = "ok",
        error: str | None = None,
        took: float = 0.01,
        final: bool = False,
    ) -> None:
        start, end = round(at * 1e9), round((at + took) * 1e9)
        number = len(self.ops)
        process = NODES.index(node)
        self.ops.append(
            Op(
                process,
                f,
                key,
                value,
                outcome,
                result,
                start,
                None if outcome == "info" else end,
                2 * number,
                2 * number + 1,
                node,
                error,
                final,
            )
        )

    def runs(self, node: str, *moments: float, instance: str = "", final: bool = False) -> None:
        for at in moments:
            result = {WORKER: instance or f"{node}/1/1"} if instance != "-" else {}
            self.op("running", at, node, result=result, final=final)

    def ends(
        self,
        at: float,
        owner: str | None = HOME,
        views: dict[str, str] | None = None,
        instance: str = "",
    ) -> None:
        """The final reads."""
        for node in NODES:
            told = (views or {}).get(node, owner)
            self.op("owners", at, node, result={WORKER: told}, final=True)
            self.runs(node, at + 0.1, instance=instance if node == owner else "-", final=True)

    def resolved(
        self,
        node: str,
        before: dict[str, str],
        after: dict[str, str],
        gone: Sequence[str] = (),
        **more: Any,
    ) -> None:
        told = {"worker": WORKER, "before": before, "after": after, "gone": gone}
        self.op(
            "conflicts", 21.0, node, result={"open": [], "resolved": [told], **more}, final=True
        )

    @property
    def history(self) -> History:
        ops = sorted(self.ops, key=lambda op: op.start)
        timeline = Timeline(faults=self.faults, load=self.load)
        return History(ops, nodes=NODES, timeline=timeline)


def cut(start: float = 5.0, end: float = 10.0, kind: str = "netsplit") -> FaultSpan:
    return FaultSpan("f1", kind, kind, (OTHER,), round(start * 1e9), round(end * 1e9))


def both_sides() -> Story:
    """A netsplit, during which the other node runs the worker as well, until 11 s."""
    story = Story(cut())
    story.runs(HOME, *range(1, 20))
    story.runs(OTHER, 7.0, 8.0, 9.0, 10.0, 11.0)
    return story


def told(verdict: Verdict) -> tuple[str, str | None]:
    return verdict.result, verdict.anomaly


def test_two_owners_while_the_network_is_cut_are_as_it_should_be() -> None:
    story = both_sides()
    story.ends(20.0)
    verdict = one_owner(within=4, contested=1, at_home=True)(story.history)
    assert told(verdict) == ("valid", None)
    assert verdict.data["contested"] == [WORKER]
    assert (verdict.data["moves"], verdict.data["owners"]) == (1, {WORKER: HOME})
    assert verdict.data["settled_s"] == pytest.approx(1.0)


def test_two_owners_for_longer_are_not() -> None:
    story = both_sides()
    story.runs(OTHER, 15.0, 16.0)
    story.ends(20.0)
    assert told(one_owner(within=4)(story.history)) == ("invalid", "two-owners")
    assert told(one_owner(within=7)(story.history)) == ("valid", None)


def test_what_ran_one_after_the_other_was_never_twice() -> None:
    story = Story(cut())
    story.runs(HOME, 1.0, 2.0, 14.5)
    story.runs(OTHER, 14.8, 16.0, 18.0)
    story.ends(20.0, OTHER)
    assert told(one_owner(within=1)(story.history)) == ("valid", None)
    assert told(one_owner(within=1, at_home=True)(story.history)) == ("invalid", "misplaced")
    assert told(one_owner(within=1, most_moves=0)(story.history)) == ("invalid", "moved")


def test_at_the_end_one_node_runs_it_and_all_name_that_one() -> None:
    story = both_sides()
    story.ends(20.0, None)
    assert told(one_owner(within=4)(story.history)) == ("invalid", "ownerless")
    story = both_sides()
    story.ends(20.0, views={OTHER: OTHER})
    verdict = one_owner(within=4)(story.history)
    assert told(verdict) == ("invalid", "stale-owner")
    assert f"{OTHER} says {OTHER}" in verdict.summary
    story = both_sides()
    story.ends(20.0)
    story.runs(OTHER, 20.3, final=True)
    assert told(one_owner(within=4)(story.history)) == ("invalid", "two-owners")


def test_a_worker_that_runs_nowhere_for_too_long_is_found_where_all_were_asked() -> None:
    story = Story(cut(kind="kill"))
    story.runs(OTHER, 1.0, 4.9)
    for node in (HOME, _LAST):
        story.runs(node, 6.0, 8.5, instance="-")
    story.runs(HOME, 9.0, 12.0)
    story.ends(20.0)
    assert told(one_owner(within=4, takeover=5)(story.history)) == ("valid", None)
    assert told(one_owner(within=4, takeover=3)(story.history)) == ("invalid", "ownerless")
    story.ops = [op for op in story.ops if op.node != _LAST or op.final]
    assert told(one_owner(within=4, takeover=3)(story.history)) == ("valid", None)


def test_ownership_that_nobody_looked_at_is_untested() -> None:
    assert one_owner(within=1)(Story().history).result == "unknown"
    story = Story(cut())
    story.runs(HOME, 1.0, 2.0, 15.0, 16.0)
    assert "no final read" in one_owner(within=1)(story.history).summary
    story.ends(20.0)
    assert one_owner(within=1)(story.history).result == "valid"
    verdict = one_owner(within=1, contested=1)(story.history)
    assert (verdict.result, verdict.data["contested"]) == ("unknown", [])


BEFORE = {HOME: f"{HOME}/1/1", OTHER: f"{OTHER}/1/1"}
AFTER = {HOME: f"{HOME}/1/1"}


def test_a_conflict_seen_from_outside_is_in_a_journal() -> None:
    story = both_sides()
    story.resolved(OTHER, BEFORE, AFTER)
    story.resolved(HOME, BEFORE, AFTER)
    verdict = journaled()(story.history)
    assert told(verdict) == ("valid", None)
    assert (verdict.data["seen"], verdict.data["ownership_conflicts"]) == (1, 1)
    assert journaled(at_least=2)(story.history).result == "unknown"


def test_who_is_taken_for_dead_cannot_win() -> None:
    """One side met the other's claims before it knew that the claimant was cut off."""
    story = both_sides()
    story.resolved(OTHER, BEFORE, {OTHER: BEFORE[OTHER]}, gone=[HOME])
    # That settled nothing: what comes after the netsplit must be told as well.
    assert told(journaled()(story.history)) == ("invalid", "not-journaled")
    story.resolved(HOME, BEFORE, AFTER)
    assert told(journaled()(story.history)) == ("valid", None)


def test_journals_that_are_silent_or_wrong_are_found() -> None:
    story = both_sides()
    story.resolved(OTHER, AFTER, AFTER)
    assert told(journaled()(story.history)) == ("invalid", "not-journaled")
    story = both_sides()
    story.resolved(OTHER, BEFORE, {OTHER: BEFORE[OTHER]})
    assert told(journaled()(story.history)) == ("invalid", "against-the-rule")
    story.resolved(HOME, BEFORE, AFTER)
    assert "journals-differ" in journaled()(story.history).anomalies
    story = both_sides()
    story.resolved(OTHER, BEFORE, AFTER, open=[{"worker": WORKER}])
    assert told(journaled()(story.history)) == ("invalid", "unresolved")
    assert journaled()(both_sides().history).result == "unknown"


def asked(story: Story, node: str, rate: int, share: float) -> None:
    """`rate` requests a second of the load, of which a share is admitted."""
    for number in range(10 * rate):
        time = round((3 + number / rate) * 1e9)
        status = 200 if number % 100 < share * 100 else 429
        story.load.append(LoadSample(time, f"request {node}", 0.002, False, status))


def test_each_side_admits_its_share() -> None:
    story = Story(cut())
    for node in NODES:
        asked(story, node, 100, 0.4)
    verdict = of_load(admitted(per_node=40))(story.history)
    assert told(verdict) == ("valid", None)
    assert verdict.check == "admitted(40/s a node) of the load"
    assert verdict.data["accepted_rate"][HOME] == pytest.approx(40, rel=0.1)
    assert told(of_load(admitted(per_node=20))(story.history)) == ("invalid", "unfair-share")
    assert of_load(admitted(per_node=90))(story.history).result == "unknown"
    assert admitted(per_node=40)(story.history).result == "unknown"
    assert admitted(per_node=40)(Story().history).result == "unknown"
    assert told(of_load(rate_limit(300, per=1))(story.history))[0] == "valid"
    assert told(of_load(rate_limit(100, per=1))(story.history)) == ("invalid", "over-admitted")


def refuse(story: Story, node: str, took: float) -> None:
    for number in range(20):
        at = 7 + number / 10
        story.op("request", at, node, outcome="fail", error="unavailable: 503", took=took)


def test_a_minority_refuses_and_at_once() -> None:
    story = Story(cut())
    for number in range(20):
        story.op("request", 7 + number / 10, HOME, key="k")
        story.op("request", 7 + number / 10, _LAST, outcome="fail", error=MISMATCH)
    assert told(fails_fast()(story.history)) == ("invalid", "minority-serves")
    refuse(story, OTHER, 0.5)
    verdict = fails_fast()(story.history)
    assert (told(verdict), verdict.data["refusing"]) == (("valid", None), [OTHER])
    assert fails_fast(at_least=30)(story.history).result == "unknown"
    assert told(fails_fast(within=0.3)(story.history)) == ("invalid", "slow-refusal")
    assert fails_fast()(Story().history).result == "unknown"


def test_every_message_is_everywhere_and_stays_there() -> None:
    def published() -> Story:
        story = Story()
        story.op("publish", 1.0, key="t", value="a")
        story.op("publish", 2.0, key="t", value="b")
        story.op("deliver", 2.5, HOME, key="t", value=HOME, result=["a", "b"])
        story.op("deliver", 2.5, OTHER, key="t", value=OTHER, result=["a"])
        story.op("deliver", 5.0, HOME, key="t", value=HOME, result=["a", "b"], final=True)
        return story

    story = published()
    story.op("deliver", 5.0, OTHER, key="t", value=OTHER, result=["a", "b"], final=True)
    verdict = everywhere()(story.history)
    assert (told(verdict), verdict.check) == (("valid", None), "everywhere")
    story = published()
    story.op("deliver", 5.0, OTHER, key="t", value=OTHER, result=["a"], final=True)
    assert told(everywhere()(story.history)) == ("invalid", "lost")
    story = published()
    story.op("deliver", 5.0, OTHER, key="t", value=OTHER, result=["b", "a"], final=True)
    assert told(everywhere()(story.history)) == ("invalid", "rewritten")
    assert everywhere()(Story().history).result == "unknown"


def test_places_are_spread_and_only_those_of_a_lost_node_move() -> None:
    names = [f"node-{number}" for number in range(1, 6)]
    homes = {f"w{number}": best(f"w{number}", names) for number in range(500)}
    counts = [list(homes.values()).count(name) for name in names]
    assert min(counts) > 60
    for worker, home in homes.items():
        left = best(worker, names[:-1])
        assert left == home or home == names[-1]
        assert ranked(worker, reversed(names))[0] == home
    assert best("w", []) is None
