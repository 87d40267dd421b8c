"""What may be answered about an account that is deleted softly."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.check import linearizable
from harness.history import Outcome
from targets.jobs import AccountModel
from targets.jobs.client import NOT_SO
from tests.support.timelines import op, run

check = linearizable(AccountModel())
A = "account-01"


def history(*calls: tuple[str, Any, Any] | tuple[str, Any, Any, Outcome]) -> Any:
    """Calls one after the other: what, its value, its answer, and how it ended."""
    ops = []
    for number, (f, value, result, *how) in enumerate(calls):
        outcome: Outcome = how[0] if how else "ok"
        ops.append(op(f, A, outcome, number, value=value, result=result, process=number))
    found = run(ops)
    for place, one in enumerate(found.ops):
        one.index, one.end_index = 2 * place, None if one.outcome == "info" else 2 * place + 1
    return found


CREATED = ("create", "r1", "r1")
DELETED = ("delete", "r2", "r1")


def test_a_deleted_account_is_seen_on_no_path_until_it_is_restored() -> None:
    verdict = check(
        history(
            CREATED,
            ("get", None, "r1"),
            DELETED,
            ("get", None, None),
            ("listed", None, None),
            ("found", "r1", None),
            ("counted", None, 0),
            ("create", "r3", NOT_SO),
            ("rename", "r4", NOT_SO),
            ("restore", "r5", "r1"),
            ("rename", "r6", "r6"),
            ("found", "r1", None),
            ("found", "r6", "r6"),
            ("counted", None, 1),
            ("restore", "r7", NOT_SO),
        )
    )
    assert verdict.result == "valid"


@pytest.mark.parametrize(
    "leak",
    [("get", None, "r1"), ("listed", None, "r1"), ("found", "r1", "r1"), ("counted", None, 1)],
)
def test_a_leak_on_any_path_is_found(leak: tuple[str, Any, Any]) -> None:
    assert check(history(CREATED, DELETED, leak)).result == "invalid"


def test_a_deletion_of_which_nobody_knows_may_have_been_or_not() -> None:
    lost: tuple[str, Any, Any, Outcome] = ("delete", "r2", None, "info")
    assert check(history(CREATED, lost, ("get", None, "r1"))).result == "valid"
    assert check(history(CREATED, lost, ("get", None, None))).result == "valid"
    verdict = check(history(CREATED, lost, ("get", None, None), ("get", None, "r1")))
    assert verdict.result == "invalid"


def test_an_id_is_taken_also_by_a_deleted_account() -> None:
    assert check(history(CREATED, DELETED, ("create", "r3", "r3"))).result == "invalid"


@given(st.lists(st.sampled_from(["create", "rename", "delete", "restore", "get", "found"])))
def test_what_the_model_answers_itself_it_takes_for_sound(names: list[str]) -> None:
    kind, name = "absent", None
    calls: list[tuple[str, Any, Any]] = []
    for number, f in enumerate(names):
        request = f"r{number}"
        if f == "get":
            calls.append((f, None, name if kind == "live" else None))
        elif f == "found":
            calls.append((f, name, name if kind == "live" else None))
        elif (f, kind) in (("create", "absent"), ("rename", "live")):
            kind, name = "live", request
            calls.append((f, request, name))
        elif (f, kind) in (("delete", "live"), ("restore", "deleted")):
            kind = "deleted" if f == "delete" else "live"
            calls.append((f, request, name))
        else:
            calls.append((f, request, NOT_SO))
    assert check(history(*calls)).result in ("valid", "unknown")
