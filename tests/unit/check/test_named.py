"""The checks by name, as the command line asks for them."""

from __future__ import annotations

import csv

import pytest

from harness.check import Check
from harness.check.named import NAMES, check_named
from harness.errors import UsageError
from harness.formats import read
from tests.support.histories import GOLDEN, history

WITHOUT_ISOLATION = [name for name in NAMES if name not in ("list-append", "rw-register")]


NEEDED = {
    "rate-limit": {"limit": 10, "per": 1},
    "cron": {"every": 10, "jitter": 1},
    "projection-lag": {"within": 1},
    "slo": {"route": "read", "p99": 0.1},
}


@pytest.mark.parametrize("name", WITHOUT_ISOLATION)
def test_every_name_makes_a_check(name: str) -> None:
    check = check_named(name, options=NEEDED.get(name))
    assert isinstance(check, Check)
    assert check(history()).result == "unknown"
    assert NAMES[name]


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("knossos-cas-register", "linearizable(cas-register)"),
        ("jepsen-set-full", "set-full"),
        ("SET_FULL", "set-full"),
        ("jepsen-bank", "bank"),
        ("porcupine-kv", "linearizable(kv)"),
        ("linearizable-counter", "linearizable(counter)"),
        ("knossos-set", "linearizable(set)"),
        ("queue", "queue"),
    ],
)
def test_other_spellings(spelling: str, name: str) -> None:
    assert check_named(spelling).name == name


@pytest.mark.parametrize("spelling", ["append", "elle-list-append", "list_append"])
def test_spellings_of_elle(spelling: str) -> None:
    assert check_named(spelling, consistency_model="serializable").name.startswith("list-append")


def test_unknown_names_have_near_misses() -> None:
    with pytest.raises(UsageError) as caught:
        check_named("cas-registre")
    assert "Did you mean cas-register" in str(caught.value)
    with pytest.raises(UsageError) as caught:
        check_named("???")
    assert caught.value.why is None


@pytest.mark.parametrize("name", NEEDED)
def test_arguments_that_a_check_needs_are_named(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_named(name, options={})
    first = next(iter(NEEDED[name]))
    assert first in caught.value.what and f"{first}=…" in str(caught.value.do)


def test_further_arguments_reach_the_check() -> None:
    judged = history((0, "invoke", "read", None), (0, "ok", "read", {"a": 5, "b": 5}))
    assert check_named("bank")(judged).result == "valid"
    assert check_named("bank", options={"total": 11})(judged).anomaly == "wrong-total"
    assert check_named("cas-register", options={"mismatches": False}) != check_named("cas-register")
    with pytest.raises(UsageError, match="bank takes no 'totals'"):
        check_named("bank", options={"totals": 11})
    with pytest.raises(UsageError, match="takes no 'model'"):
        check_named("register", options={"model": "set"})


def test_arguments_that_a_check_does_not_take_are_refused() -> None:
    with pytest.raises(UsageError, match="consistency model"):
        check_named("bank", consistency_model="serializable")
    with pytest.raises(UsageError, match="initial"):
        check_named("bank", initial=5)


def test_initial_values_and_limits_reach_the_check() -> None:
    lines = [(0, "invoke", "read", None), (0, "ok", "read", 5)]
    assert check_named("cas-register", initial=5)(history(*lines)).valid
    assert check_named("cas-register", initial=4)(history(*lines)).result == "invalid"
    added = [(0, "invoke", "add", 1), (0, "ok", "add", 1), *lines]
    assert check_named("counter", initial=4)(history(*added)).valid
    assert check_named("counter")(history(*added)).result == "invalid"
    assert getattr(check_named("causal", timeout=7), "timeout_s", None) == 7


def test_a_set_that_is_used_otherwise_is_judged_as_an_object() -> None:
    def lines(f: str, value: object, answer: object) -> list[tuple[object, ...]]:
        return [(0, "invoke", f, value), (0, "ok", f, answer)]

    filled = [*lines("add", 1, 1), *lines("read", None, [1])]
    assert check_named("set")(history(*filled)).check == "set"
    emptied = [*lines("add", 1, 1), *lines("remove", 1, True), *lines("read", None, [])]
    verdict = check_named("set")(history(*emptied))
    assert (verdict.check, verdict.result) == ("linearizable(set)", "valid")


def _rows() -> list[dict[str, str]]:
    index = GOLDEN / "expected.tsv"
    if not index.exists():
        return []
    with index.open(newline="") as file:
        return [row for row in csv.DictReader(file, delimiter="\t") if "/jepsen/" in row["file"]]


def test_golden_histories_are_there() -> None:
    if not GOLDEN.is_dir():
        pytest.skip(f"no golden histories at {GOLDEN}")
    assert len([row for row in _rows() if row["file"].startswith("elle-cli")]) == 4


@pytest.mark.parametrize(
    "row",
    [row for row in _rows() if row["file"].startswith("elle-cli")],
    ids=lambda row: row["file"],
)
def test_the_published_verdict(row: dict[str, str]) -> None:
    verdict = check_named(row["model"])(read(GOLDEN / row["file"], row["format"]))
    assert verdict.result == ("valid" if row["expected_valid"] == "true" else "invalid")
