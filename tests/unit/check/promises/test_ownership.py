"""Ownership: two owners at once are found exactly where they cannot be explained away."""

from __future__ import annotations

from itertools import combinations, product
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.check.promises import ownership
from harness.errors import UsageError
from harness.history import MISMATCH, History, Op
from tests.support.overlaps import OUTCOMES, overlapping
from tests.support.services import MS, Call, RefusedError, drive
from tests.support.timelines import op, run


def acquire(process: int, at: float, took_s: float = 1, outcome: Any = "ok", **more: Any) -> Op:
    return op("acquire", "k", outcome, at, took_s, process=process, **more)


def release(process: int, at: float, outcome: Any = "ok", **more: Any) -> Op:
    return op("release", "k", outcome, at, 1, process=process, **more)


def test_two_owners_at_once_are_shown() -> None:
    ops = [acquire(1, 1), acquire(2, 3), release(1, 5)]
    verdict = ownership()(run(ops))
    assert (verdict.result, verdict.anomaly) == ("invalid", "two-owners")
    assert "'process 1' and 'process 2' both owned 'k' from 4.000 s to 5.000 s" in verdict.summary
    assert ownership(lease=2)(run(ops)).valid
    assert ownership(lease=3.5)(run(ops)).result == "invalid"
    assert len(verdict.data["ops"]) == 2


def test_what_may_have_been_released_is_not_held_against_it() -> None:
    assert ownership()(run([acquire(1, 1), release(1, 3.5), acquire(2, 3)])).valid
    assert ownership()(run([acquire(1, 1), release(1, 3, "info"), acquire(2, 4)])).valid
    assert ownership()(run([acquire(1, 1, outcome="info"), acquire(2, 4)])).valid
    assert ownership()(run([acquire(1, 1, outcome="fail"), acquire(2, 4)])).valid
    assert ownership()(run([acquire(1, 1), acquire(2, 4)])).result == "invalid"


def test_the_lease_is_what_the_answer_says_and_is_renewed() -> None:
    told = acquire(1, 1, result={"lease_s": 2})
    assert ownership()(run([told, acquire(2, 4)])).valid
    assert ownership()(run([told, acquire(2, 1.5, 0.6)])).result == "invalid"
    renewal = op("renew", "k", "ok", 2.5, 0.1, process=1, result={"lease_s": 2})
    assert ownership()(run([told, renewal, acquire(2, 3.2, 0.2)])).result == "invalid"
    in_vain = op("renew", "k", "fail", 2.2, 0.1, process=1, error=MISMATCH)
    assert ownership()(run([told, in_vain, acquire(2, 2.3, 0.2)])).valid


def test_owners_have_names_and_may_acquire_again() -> None:
    again = [acquire(1, 1, value="a"), acquire(2, 3, value={"owner": "a"})]
    assert ownership()(run([*again, acquire(3, 1, outcome="fail", value="b")])).valid
    other = [acquire(1, 1, value="a"), acquire(1, 3, value="b")]
    assert "'a' and 'b' both owned" in ownership()(run(other)).summary
    # The longest tenure of each of two owners matters, not just the last one.
    ops = [acquire(1, 0, value="a"), acquire(2, 2, value="b"), acquire(3, 4, value="a")]
    assert ownership()(run(ops)).data["two-owners"] == 2


def test_tokens_grow_and_are_given_once() -> None:
    def with_token(token: Any, process: int, at: float) -> list[Op]:
        return [acquire(process, at, 0.5, result=token), release(process, at + 1)]

    down = [*with_token(7, 1, 0), *with_token(6, 2, 5)]
    verdict = ownership()(run(down))
    assert (verdict.result, verdict.anomaly) == ("invalid", "token-went-back")
    assert "'process 2' got token 6 of 'k' after 7 had been" in verdict.summary
    assert ownership()(run([*with_token(7, 1, 0), *with_token(8, 2, 5)])).valid
    assert ownership()(run([*with_token(7, 1, 0), *with_token({"token": 7}, 2, 5)])).anomalies == [
        "token-reused"
    ]
    beside = [*with_token(7, 1, 0), acquire(2, 0.2, 6, result=6)]
    assert ownership()(run(beside)).valid
    echoed = [acquire(1, 1, 1, value=9, result=9), release(1, 3, value=9)]
    assert ownership()(run([*echoed, acquire(2, 5, 1, value=8, result=8)])).valid


def test_without_two_who_want_it_nothing_is_tested() -> None:
    assert ownership()(run([acquire(1, 1), release(1, 3)])).result == "unknown"
    assert ownership()(run([op("read", "k", "ok", 1)])).result == "unknown"
    with pytest.raises(UsageError):
        ownership(lease=0)


FIELDS = st.fixed_dictionaries(
    {
        "f": st.sampled_from(["acquire", "acquire", "release"]),
        "key": st.just("k"),
        "outcome": OUTCOMES,
    }
)


def can_be(history: History) -> bool:
    """Some choice of moments for all acquires and releases has no two owners at once."""
    step = 400  # (half of the shortest op, so that every order of moments is tried)
    tenures = []
    for first in history.ops:
        if first.f != "acquire" or first.outcome != "ok" or first.end is None:
            continue
        later = [
            op
            for op in history.ops
            if op.f == "release" and op.process == first.process and op.index > first.index
        ]
        grants = [*range(first.start, first.end, step), first.end]
        ends = [10**9]
        if later:
            ends = [later[0].start, 10**9]
        tenures.append((first.process, [(a, b) for a in grants for b in ends if a <= b]))
    return any(
        all(
            one == other or min(mine[1], theirs[1]) <= max(mine[0], theirs[0])
            for (one, mine), (other, theirs) in combinations(
                [(process, span) for (process, _spans), span in zip(tenures, spans, strict=True)], 2
            )
        )
        for spans in product(*(spans for _process, spans in tenures))
    )


@settings(max_examples=180, deadline=None)
@given(overlapping(FIELDS, most=5, processes=2))
def test_it_agrees_with_every_choice_of_moments(history: History) -> None:
    verdict = ownership()(history)
    assert (verdict.result != "invalid") == can_be(history)


class Locks:
    """A lock with a lease of 50 ms; its bug hands it out again after 30."""

    def __init__(self, bug: bool) -> None:
        self.lease = (30 if bug else 50) * MS
        self.holder: tuple[int, int] | None = None
        self.token = 0

    def answer(self, call: Call, process: int, now: int) -> Any:
        free = self.holder is None or self.holder[1] <= now
        if call.f == "acquire":
            if not free:
                raise RefusedError
            self.token += 1
            self.holder = process, now + self.lease
            return {"token": self.token, "lease_s": 0.05}
        if self.holder is None or free or self.holder[0] != process:
            raise RefusedError
        self.holder = None
        return None


def some_call(rng: Random, number: int) -> Call:
    return Call(rng.choice(["acquire", "acquire", "acquire", "release"]), key="k")


@pytest.mark.parametrize("bug", [False, True])
def test_a_lease_that_ends_too_soon_is_caught(bug: bool) -> None:
    histories = [drive(Locks(bug), some_call, seed=seed, slowest_ms=8) for seed in range(8)]
    results = {ownership()(history).result for history in histories}
    assert results == {"invalid" if bug else "valid"}
