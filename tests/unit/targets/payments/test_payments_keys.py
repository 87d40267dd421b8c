"""The store's rules, under every interleaving of requests, crashes and passing time."""

from __future__ import annotations

import math
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from targets.payments.app.dependencies.database import open_database
from targets.payments.app.dependencies.keys import LEASE_S, Keys
from targets.payments.app.dependencies.routes import lifetime_s
from targets.payments.app.settings import Settings

LIFETIME_S = 10.0


class Bench:
    def __init__(self, lifetime_s: float = LIFETIME_S, path: Path | str = ":memory:") -> None:
        self.now = 1000.0
        self.lifetime_s = lifetime_s
        self.db = open_database(path)
        self.keys = self.opened()

    def opened(self) -> Keys:
        return Keys(self.db, lambda: self.now, self.lifetime_s)

    def done(self, key: str, charge_id: str, print_: str = "f") -> None:
        self.keys.finish(key, print_, charge_id, {"key": key, "amount": 5})


def test_the_first_request_gets_the_key_and_others_wait_for_its_lease() -> None:
    bench = Bench()
    assert bench.keys.begin("k", "f", "c1", "r1").state == "mine"
    assert bench.keys.begin("k", "f", "c2", "r2").state == "busy"
    assert bench.keys.begin("k", "f", "c1", "r1").state == "mine"  # its own, asked again
    bench.now += LEASE_S
    taken = bench.keys.begin("k", "f", "c2", "r2")
    assert (taken.state, taken.charge_id) == ("mine", "c1")


def test_whoever_gives_up_leaves_the_charge_id_behind() -> None:
    bench = Bench()
    bench.keys.begin("k", "f", "c1", "r1")
    bench.keys.release("k", "somebody else")
    assert bench.keys.begin("k", "f", "c2", "r2").state == "busy"
    bench.keys.release("k", "r1")
    assert bench.keys.begin("k", "f", "c2", "r2").charge_id == "c1"


def test_a_finished_key_answers_with_its_outcome() -> None:
    bench = Bench()
    bench.keys.begin("k", "f", "c1", "r1")
    assert bench.keys.find("k") is not None
    bench.done("k", "c1")
    begun = bench.keys.begin("k", "f", "c2", "r2")
    assert (begun.state, begun.outcome, begun.notified) == (
        "done",
        {"key": "k", "amount": 5},
        False,
    )
    bench.keys.delivered(["c1"])
    assert bench.keys.begin("k", "f", "c2", "r2").notified


def test_another_payload_is_told_apart_at_every_stage() -> None:
    bench = Bench()
    bench.keys.begin("k", "f", "c1", "r1")
    assert bench.keys.begin("k", "g", "c2", "r2").state == "other"
    bench.done("k", "c1")
    assert bench.keys.begin("k", "g", "c2", "r2").state == "other"


def test_finishing_twice_notifies_once() -> None:
    bench = Bench()
    bench.keys.begin("k", "f", "c1", "r1")
    bench.done("k", "c1")
    bench.keys.delivered(["c1"])
    bench.done("k", "c1")
    assert bench.keys.counts()["outbox"] == 0


def test_a_charge_made_after_its_key_expired_is_recorded_all_the_same() -> None:
    bench = Bench()
    bench.keys.begin("k", "f", "c1", "r1")
    bench.now += LIFETIME_S
    bench.keys.sweep(10)
    bench.done("k", "c1")
    assert bench.keys.begin("k", "f", "c2", "r2").state == "done"


def test_a_claimed_notification_is_one_relays_until_its_lease_ends() -> None:
    bench = Bench()
    for n in range(5):
        bench.keys.begin(f"k{n}", "f", f"c{n}", "r")
        bench.done(f"k{n}", f"c{n}")
    assert not bench.keys.due()  # the request that made them delivers them first
    bench.now += LEASE_S
    assert [row[0] for row in bench.keys.claim(3)] == ["c0", "c1", "c2"]
    assert [row[0] for row in bench.keys.claim(3)] == ["c3", "c4"]
    assert not bench.keys.due()
    bench.keys.delivered(["c0", "c1"])
    bench.now += LEASE_S
    assert sorted(row[0] for row in bench.keys.claim(10)) == ["c2", "c3", "c4"]


def test_expired_keys_are_new_and_swept_in_batches() -> None:
    bench = Bench()
    for n in range(10):
        bench.keys.begin(f"k{n}", "f", f"c{n}", "r")
    assert not bench.keys.expired()
    bench.now += LIFETIME_S
    assert bench.keys.find("k0") is None
    assert bench.keys.begin("k0", "g", "new", "r").charge_id == "new"
    assert [bench.keys.sweep(6) for _ in range(3)] == [6, 3, 0]
    assert bench.keys.counts()["keys"] == 1


def grown(lifetime_s: float, *, rate: int = 20, for_s: int = 3600) -> int:
    """The most keys that the table ever held, with a sweep every second."""
    bench = Bench(lifetime_s)
    most = 0
    for second in range(for_s):
        for n in range(rate):
            bench.keys.begin(f"{second}-{n}", "f", "c", "r")
        bench.now += 1.0
        bench.keys.sweep(500)
        most = max(most, bench.keys.counts()["keys"]) if second % 100 == 0 else most
    return most


def test_an_hour_of_keys_takes_the_room_of_a_lifetime() -> None:
    assert grown(120.0) <= 20 * (120 + 1)


def test_keys_that_never_expire_take_ever_more_room() -> None:
    assert grown(math.inf, for_s=600) > 20 * 400


def test_a_restart_does_not_shorten_lives(tmp_path: Path) -> None:
    bench = Bench(path=tmp_path / "data.sqlite")
    bench.keys.begin("k", "f", "c1", "r1")
    bench.done("k", "c1")
    bench.db.close()
    bench.now = 3.0  # the machine was started again: its clock begins anew
    bench.db = open_database(tmp_path / "data.sqlite")
    bench.keys = bench.opened()
    bench.now += LIFETIME_S - 0.1
    assert bench.keys.begin("k", "f", "c2", "r2").state == "done"
    bench.now += 0.2
    assert bench.keys.begin("k", "f", "c2", "r2").charge_id == "c2"
    bench.db.close()


@pytest.mark.parametrize(
    ("mutant", "expected"),
    [(None, 120.0), ("key-forgotten-early", 0.3), ("keys-never-expire", math.inf)],
)
def test_how_long_keys_live(mutant: str | None, expected: float) -> None:
    given = Settings(name="store", address="127.0.0.1", key_lifetime_s=120.0, mutant=mutant)
    assert lifetime_s(given) == expected


def test_a_faster_clock_shortens_their_lives() -> None:
    given = Settings(name="store", address="127.0.0.1", key_lifetime_s=120.0, clock_speed=360.0)
    assert lifetime_s(given) == pytest.approx(1 / 3)


@dataclass
class Holder:
    """A request that was told that a key is its own."""

    key: str
    owner: str
    charge_id: str
    until: float
    since: float


class Store(RuleBasedStateMachine):
    """Requests that begin, finish, give up or die at any moment, while time passes and the store is
    killed now and then. At most one holds a key, and a key has one charge id while it lives."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.holders: list[Holder] = []
        self.numbers = iter(range(10**6))
        self.ids: dict[str, tuple[str, float]] = {}  # key → its charge id, and until when
        self.finished: dict[str, str] = {}

    @rule(key=st.sampled_from("ab"), lost=st.booleans())
    def begin(self, key: str, lost: bool) -> None:
        now, number = self.bench.now, next(self.numbers)
        self.bench.db.execute("BEGIN IMMEDIATE")
        begun = self.bench.keys.begin(key, "f", f"c{number}", f"r{number}")
        if lost:  # killed before the commit
            self.bench.db.execute("ROLLBACK")
            return
        self.bench.db.execute("COMMIT")
        alive = self.ids.get(key) if self.ids.get(key, ("", 0.0))[1] > now else None
        if begun.state == "mine":
            others = [h for h in self.holders if h.key == key and h.until > now]
            assert others == [], "two owners at a time"
            assert begun.charge_id == (alive[0] if alive else f"c{number}")
            if alive is None:
                self.ids[key] = (begun.charge_id, now + LIFETIME_S)
                self.finished.pop(key, None)
            self.holders.append(
                Holder(key, f"r{number}", begun.charge_id, now + LEASE_S, since=now)
            )
        elif begun.state == "done":
            assert alive is not None
            assert begun.charge_id == alive[0] == self.finished[key]
        else:
            assert begun.state == "busy"
            assert [h for h in self.holders if h.key == key and h.until > now]

    @precondition(lambda self: self.holders)
    @rule(pick=st.randoms(use_true_random=False))
    def finish(self, pick: object) -> None:
        holder = self.holders.pop(pick.randrange(len(self.holders)))  # type: ignore[attr-defined]
        if self.bench.now >= self.ids[holder.key][1] or self.ids[holder.key][0] != holder.charge_id:
            return  # (beyond the lifetime, where nothing is promised)
        self.bench.done(holder.key, holder.charge_id)
        self.finished[holder.key] = holder.charge_id
        # A finished key has no owner: its lease is over.
        self.holders = [h for h in self.holders if h.key != holder.key]

    @precondition(lambda self: self.holders)
    @rule(pick=st.randoms(use_true_random=False))
    def give_up(self, pick: object) -> None:
        holder = self.holders.pop(pick.randrange(len(self.holders)))  # type: ignore[attr-defined]
        self.bench.keys.release(holder.key, holder.owner)

    # Times that floats add up exactly: at the very end of a lifetime the order would change a sum.
    @rule(later_s=st.sampled_from([0.125, 0.5, 1.0, 4.0, 11.0]))
    def time_passes(self, later_s: float) -> None:
        self.bench.now += later_s

    @rule()
    def sweep(self) -> None:
        self.bench.keys.sweep(1)

    @invariant()
    def what_was_finished_is_not_forgotten(self) -> None:
        for key, charge_id in self.finished.items():
            if self.bench.now < self.ids[key][1]:
                found = self.bench.keys.find(key)
                assert found is not None
                assert (found.state, found.charge_id) == ("done", charge_id)

    def teardown(self) -> None:
        self.bench.db.close()


TestStore = Store.TestCase
TestStore.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def test_one_failure_undoes_its_transaction(tmp_path: Path) -> None:
    bench = Bench(path=tmp_path / "data.sqlite")
    with pytest.raises(sqlite3.IntegrityError), bench.db:
        bench.db.execute("BEGIN IMMEDIATE")
        bench.keys.begin("k", "f", "c1", "r1")
        bench.keys.begin("l", None, "c2", "r2")  # type: ignore[arg-type]
    assert bench.keys.find("k") is None
    bench.db.close()
