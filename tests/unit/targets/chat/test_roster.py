"""Who is there, from state and diffs as they come over the wire."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from targets.chat.roster import Roster


def there(**refs: str) -> dict[str, Any]:
    """User → its `phx_ref`s, a letter each."""
    return {
        user: {"metas": [{"phx_ref": ref} for ref in several]} for user, several in refs.items()
    }


def diff(joins: dict[str, Any] | None = None, leaves: dict[str, Any] | None = None) -> Any:
    return {"joins": joins or {}, "leaves": leaves or {}}


def test_a_user_is_there_until_its_last_window_is_closed() -> None:
    roster = Roster()
    roster.state(there(ann="ab"))
    roster.diff(diff(there(bob="c"), there(ann="a")))
    assert roster.users == ["ann", "bob"]
    roster.diff(diff(leaves=there(ann="b", nobody="x")))
    assert roster.users == ["bob"]


def test_diffs_that_come_first_wait_for_the_state() -> None:
    roster = Roster()
    roster.diff(diff(there(bob="b")))
    assert roster.users == []
    roster.state(there(ann="a"))
    assert roster.users == ["ann", "bob"]


def test_a_new_join_brings_a_new_state() -> None:
    roster = Roster()
    roster.state(there(ann="a", bob="b"))
    roster.rejoined()
    assert not roster.synced
    roster.diff(diff(there(cid="c"), there(bob="b")))
    assert roster.users == ["ann", "bob"]
    roster.state(there(bob="b", dan="d"))
    assert roster.users == ["cid", "dan"]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("uvw"), st.sampled_from("xyz"))))
def test_it_is_what_has_come_and_not_gone(steps: list[tuple[bool, str, str]]) -> None:
    roster = Roster()
    known: set[tuple[str, str]] = set()
    roster.state({})
    for comes, user, ref in steps:
        one = there(**{user: ref})
        roster.diff(diff(one) if comes else diff(leaves=one))
        (known.add if comes else known.discard)((user, ref))
    assert roster.users == sorted({user for user, _ref in known})
