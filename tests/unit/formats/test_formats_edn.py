"""EDN values, and that the fast way reads what the full reader reads."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.formats._edn import DEEPEST, Edn
from harness.formats._edn_quick import quick_map
from harness.formats._source import Cut, Damage

VALUES: list[tuple[str, Any]] = [
    ("nil", None),
    ("true", True),
    ("false", False),
    ("0", 0),
    ("-12", -12),
    ("+3", 3),
    ("12N", 12),
    ("123456789012345678901234567890", 123456789012345678901234567890),
    ("18446744073709551617", 18446744073709551617),
    ("0x1F", 31),
    ("1.5", 1.5),
    ("-2.", -2.0),
    ("1e3", 1000.0),
    ("2.5E-1", 0.25),
    ("2.50M", 2.5),
    ("4/2", 2),
    ("1/4", 0.25),
    ("##Inf", math.inf),
    ("##-Inf", -math.inf),
    (":append", "append"),
    (":jepsen.client/closed?", "jepsen.client/closed?"),
    ("a-symbol", "a-symbol"),
    ("-", "-"),
    ('"a; #_ {[(\\" \\\\ \\n\\t"', 'a; #_ {[(" \\ \n\t'),
    ('"\\u00e4\\ud83d\\ude00 ä \\101"', "ä😀 ä A"),
    ('"two\nlines"', "two\nlines"),
    ("\\a", "a"),
    ("\\newline", "\n"),
    ("\\u0041", "A"),
    ("\\o101", "A"),
    ("\\(", "("),
    ("[1,,2 ; three\n 3]", [1, 2, 3]),
    ("(1 (2))", [1, [2]]),
    ("[]", []),
    ("#{1 2}", [1, 2]),
    ("{}", {}),
    ('{:a 1, 0 "b" nil [2]}', {"a": 1, 0: "b", None: [2]}),
    ("{[1 [2]] {:a {:b 1}}}", {(1, (2,)): {"a": {"b": 1}}}),
    ("#:ns{:a 1 :b/c 2 d 3}", {"ns/a": 1, "b/c": 2, "d": 3}),
    ('#inst "2020-01-01"', "2020-01-01"),
    ("#jepsen.history.Op{:index 1}", {"index": 1}),
    ("#a/b #c [1]", [1]),
    ('#"a\\.b"', "a\\.b"),
    ("[1 #_ 2 #_ #_ 3 4 5 #_6]", [1, 5]),
    ("#_ 1 2", 2),
    ("[#_ {:a 1}]", []),
]


@pytest.mark.parametrize(("text", "value"), VALUES)
def test_values(text: str, value: Any) -> None:
    got, end = Edn().value(text, 0, True)
    assert (got, end) == (value, len(text))
    assert repr(got) == repr(value)  # 1 is neither 1.0 nor True


def test_nan() -> None:
    assert math.isnan(Edn().value("##NaN", 0, True)[0])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[1 2)", "Here stands '\\)', but '\\[' is what is open"),
        ("}", "Here stands '}', where a value should"),
        ("{:a}", "The key 'a' has no value"),
        ("{:a 1 :a 2}", "The key 'a' stands twice"),
        ("007", "'007' is no number"),
        ("1x", "'1x' is no number"),
        ("1/0", "'1/0' is no number"),
        ("9" * 5000, "is no number"),
        (":", "':' is no keyword"),
        ("::a", "'::a' is no keyword"),
        ('"\\x"', "has an escape that is none"),
        ('"\\ud83d"', "has an escape that is none"),
        ("\\nothing", "'nothing' is the name of no character"),
        ("##Else", "where a value should"),
        ("^a b", "Here stands '\\^', where a value should"),
        ("#<Object>", "Here stands '#', where a value should"),
        ("#:a[1]", "Here should stand the map"),
        ("[" * (DEEPEST + 2) + "]" * (DEEPEST + 2), f"more than {DEEPEST} brackets"),
        ("#_" * 100_000 + "1", f"more than {DEEPEST} brackets"),
        ("#a " * (DEEPEST + 2) + "1", f"more than {DEEPEST} brackets"),
    ],
)
def test_what_is_no_value(text: str, reason: str) -> None:
    with pytest.raises(Damage, match=reason):
        Edn().value(text, 0, True)


@pytest.mark.parametrize("text", [text for text, _ in VALUES if text[-1] in '"]})'])
def test_every_beginning_of_a_value_is_cut(text: str) -> None:
    for length in range(len(text)):
        with pytest.raises(Cut):
            Edn().value(text[:length], 0, False)
        with pytest.raises((Cut, Damage)):
            Edn().value(text[:length], 0, True)


def test_what_may_go_on_is_cut_unless_the_file_has_ended() -> None:
    for text in ("12", ":a", "nil", "\\a", "[1]", "a"):
        with pytest.raises(Cut):
            Edn().value(text, 0, False)
        Edn().value(text, 0, True)


WORDS = st.sampled_from([":a", ":ok", ":b/c", "nil", "true", "0", "7", "-3", "1.5", "x", "12N"])
STRANGE = st.sampled_from(
    ["007", "99999999999999999999", "-0", "1e3", "12N", "1/2", "##Inf", ":", "٣", "'", "\\a"]
) | st.sampled_from(
    [
        '"s"',
        '"a b"',
        '"[,"',
        '"}"',
        '"\n"',
        '"ä"',
        '"',
        "[",
        "]",
        "(",
        ")",
        "#{1}",
        "{:a 1}",
        "#_",
        ";",
    ]
)
VECTORS = st.recursive(
    WORDS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: f"[{' '.join(parts)}]")
        | st.lists(inner, max_size=4).map(lambda parts: f"{{{', '.join(parts)}}}")
    ),
    max_leaves=6,
)
GAPS = st.sampled_from([" ", " ", ", ", "  ", "\n", ""])


@st.composite
def maps(draw: st.DrawFn) -> str:
    """The text of a map, now and then one that is none."""
    parts = []
    for number in range(draw(st.integers(0, 4))):
        key = draw(st.sampled_from([f":k{number}"] * 6 + [":k0", '"k"', "3", "nil", "[1]"]))
        strange = draw(st.integers(0, 3)) == 0
        value = draw(STRANGE if strange else VECTORS)
        parts.append(f"{key}{draw(GAPS)}{value}")
    return "{" + draw(GAPS).join(parts) + "}"


def full(text: str) -> Any:
    """What the full reader says: the value and its end, or None."""
    try:
        return Edn().value(text, 0, True)
    except (Cut, Damage):
        return None


@given(maps())
def test_the_fast_way_reads_what_the_full_reader_reads(text: str) -> None:
    quick = quick_map(text, 0)
    if quick is not None:
        assert (quick[0], quick[2]) == full(text)
        assert repr(quick[0]) == repr(full(text)[0])


@pytest.mark.parametrize(
    "text",
    [
        "{:index 0, :type :invoke, :f :txn, :value [[:append 4 2] [:r 5 nil]], :process 3}",
        "#jepsen.history.Op{:index 0, :time 17, :type :ok, :f :read, :value [ [1 2 ] ]}",
        '{:process 0, :type :invoke, :f :append, :key "0", :value "x 0 0 y"}',
        '{:value [["a" "b"] [ "c" ] ]}',
        "{:a 1.25 :b -7 :c true}",
        '{:a "it\'s (;#) ~" :b :c}',
        "{:value {0 100, :b [ -2 ] nil 1.5} :f {}}",
        "{:value [{:a 1 } { 2 [3]}]}",
        '{:value {"a" "b c"} :c ["x"]}',
        " , {}",
    ],
)
def test_common_maps_take_the_fast_way(text: str) -> None:
    quick = quick_map(text, 0)
    assert quick is not None
    assert (quick[0], quick[2]) == full(text)


@pytest.mark.parametrize(
    "text",
    [
        '{:a "},{" :b 1}',
        '{:a "[," }',
        "{:a 99999999999999999999}",
        "{:a -99999999999999999999}",
        "{:a 1 :a 2}",
        "{:a [1 (2])}",
        "{:a {:b {:c 1}}}",
        '{:value {"a" "}{" "b" "{"} :c "}{"}',
        "{:a {:b 1 :b 2}}",
        "{:a {:b}}",
        "{:a {:b [1}]}",
        "{:a {[1] 2}}",
        "{:a #x{:b 2}}",
        "{:a 1",
        "{:a}",
        '{:a "\\n"}',
        "{:a 1 ; :b 2}\n}",
        '{:a 1 ;" :b\n :b "2"}',
        '{:a #"b"}',
        '{:a #_"b" "c"}',
        "{:a 1 #_ :b}",
        "{[1] 2}",
        "{:a 007}",
    ],
)
def test_other_maps_are_left_to_the_full_reader(text: str) -> None:
    assert quick_map(text, 0) is None
