"""Variables in compose files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.compose.interpolation import InterpolationError, interpolate

VALUES = {"SET": "value", "EMPTY": "", "PRICE": "$5"}


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("$SET", "value"),
        ("a${SET}b", "avalueb"),
        ("$SET-$SET", "value-value"),
        ("${SET:-other}", "value"),
        ("${EMPTY:-other}", "other"),
        ("${EMPTY-other}", ""),
        ("${MISSING:-other}", "other"),
        ("${MISSING-other}", "other"),
        ("${MISSING:-}", ""),
        ("${MISSING:-a:b-c?d}", "a:b-c?d"),
        ("${SET:+instead}", "instead"),
        ("${EMPTY:+instead}", ""),
        ("${EMPTY+instead}", "instead"),
        ("${MISSING+instead}", ""),
        ("${MISSING:-${SET}}", "value"),
        ("${MISSING:-${ALSO_MISSING:-$SET}!}", "value!"),
        ("${SET:?must be given}", "value"),
        ("${EMPTY?must be given}", ""),
        ("$$SET", "$SET"),
        ("$${SET}", "${SET}"),
        ("${MISSING:-$$x}", "$x"),
        ("costs 5$", "costs 5$"),
        ("$1 and $.", "$1 and $."),
        ("${PRICE}", "$5"),
    ],
)
def test_every_form_means_what_compose_says(text: str, meant: str) -> None:
    assert interpolate(text, VALUES) == meant


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("${MISSING:?give it}", "MISSING is not set: give it"),
        ("${EMPTY:?give $SET}", "EMPTY is not set: give value"),
        ("${MISSING?}", "MISSING is not set: it is required"),
        ("${SET", "no closing brace"),
        ("${MISSING:-${SET}", "no closing brace"),
        ("${}", "does not begin with the name"),
        ("${1}", "does not begin with the name"),
        ("${SET/a/b}", "'/a/b' after the name"),
    ],
)
def test_what_has_no_meaning_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(InterpolationError, match=complaint.replace("$", r"\$")):
        interpolate(text, VALUES)


def test_what_is_unset_is_told_unless_a_default_takes_its_place() -> None:
    unset: list[str] = []
    assert interpolate("$A${B}${C:-c}${D:-$E}${SET:-$F}", VALUES, unset.append) == "cvalue"
    assert unset == ["A", "B", "E"]


names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]*", fullmatch=True)
values = st.dictionaries(names, st.text())
plain = st.text(st.characters(exclude_characters="${}"))


@given(st.text())
def test_doubled_dollars_give_back_any_text(text: str) -> None:
    assert interpolate(text.replace("$", "$$"), {}) == text


@given(st.text(), values)
def test_any_text_is_interpolated_or_refused(text: str, known: dict[str, str]) -> None:
    try:
        found = interpolate(text, known)
    except InterpolationError:
        assert "${" in text
    else:
        if "$" not in text:
            assert found == text


@given(names, plain, values)
def test_a_default_is_taken_exactly_where_it_should_be(
    name: str, default: str, known: dict[str, str]
) -> None:
    assert interpolate(f"${{{name}:-{default}}}", known) == (known.get(name) or default)
    assert interpolate(f"${{{name}-{default}}}", known) == known.get(name, default)
    assert interpolate(f"${{{name}:+{default}}}", known) == (default if known.get(name) else "")
    assert interpolate(f"${{{name}+{default}}}", known) == (default if name in known else "")


@given(st.lists(names, min_size=1, max_size=5), plain, values)
def test_nested_defaults_give_the_first_that_is_there(
    chain: list[str], last: str, known: dict[str, str]
) -> None:
    text = last
    for name in reversed(chain):
        text = f"${{{name}:-{text}}}"
    assert interpolate(text, known) == next((known[n] for n in chain if known.get(n)), last)
