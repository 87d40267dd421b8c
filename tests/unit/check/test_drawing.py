"""The picture of a verdict: every op of the evidence, no more than fits, and always well formed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.check import Verdict, linearizable
from harness.check.drawing import MAX_OPS, draw
from harness.history import History
from tests.support.histories import history

SVG = "{http://www.w3.org/2000/svg}"
STALE = history(
    (0, "invoke", "write", 1),
    (0, "ok", "write", 1),
    (0, "invoke", "write", 2),
    (0, "ok", "write", 2),
    (1, "invoke", "read", None),
    (1, "ok", "read", 1),
    (2, "invoke", "write", 3),
)


def drawn(verdict: Verdict, judged: History) -> ElementTree.Element:
    text = draw(verdict, judged)
    assert text is not None
    return ElementTree.fromstring(text)


def bars(picture: ElementTree.Element) -> dict[str, ElementTree.Element]:
    found = {}
    for group in picture.iter(f"{SVG}g"):
        title, bar = group.find(f"{SVG}title"), group.find(f"{SVG}rect")
        assert title is not None and title.text is not None and bar is not None
        found[title.text.split(":")[0]] = bar
    return found


def test_each_op_is_a_bar_from_its_start_to_its_end_in_the_row_of_its_process() -> None:
    picture = drawn(linearizable("register")(STALE), STALE)
    found = bars(picture)
    assert set(found) == {"0", "2", "4"}  # (the pending write begins after the blocked read ended)
    left = {name: float(bar.attrib["x"]) for name, bar in found.items()}
    right = {name: left[name] + float(bar.attrib["width"]) for name, bar in found.items()}
    assert right["0"] < left["2"] < right["2"] < left["4"] < right["4"]
    assert found["0"].attrib["y"] == found["2"].attrib["y"] != found["4"].attrib["y"]
    assert found["4"].attrib["stroke"] not in (found["0"].attrib["stroke"], None)
    texts = [text.text for text in picture.iter(f"{SVG}text")]
    assert "process 1 node-1" in texts
    assert any(text and "nobody wrote 1 again" in text for text in texts)


def test_a_pending_op_is_open_to_the_right() -> None:
    judged = history(
        (2, "invoke", "write", 3),
        (0, "invoke", "read", None),
        (0, "ok", "read", 7),
    )
    found = bars(drawn(linearizable("register")(judged), judged))
    assert "stroke-dasharray" in found["0"].attrib
    assert "stroke-dasharray" not in found["1"].attrib


def test_a_cycle_is_drawn_with_arrows_and_without_bystanders() -> None:
    edges = [{"from": 0, "to": 2, "kind": "ww"}, {"from": 2, "to": 0, "kind": "rw <&>"}]
    data = {"ops": [asdict(op) for op in STALE.ops[:2]], "edges": edges}
    picture = drawn(Verdict("list-append", "invalid", "A <cycle> & more.", data=data), STALE)
    assert set(bars(picture)) == {"0", "2"}
    assert len(picture.findall(f"{SVG}path")) == 2
    assert "rw <&>" in [text.text for text in picture.iter(f"{SVG}text")]


@pytest.mark.parametrize("data", [{}, {"ops": []}, {"edges": []}, {"blocked": 99}])
def test_nothing_to_draw(data: dict[str, Any]) -> None:
    assert draw(Verdict("x", "unknown", "Nothing.", data=data), STALE) is None


def test_a_long_history_is_cut_to_what_led_to_the_blocked_op() -> None:
    lines: list[tuple[Any, ...]] = []
    for number in range(1000):
        lines += [(0, "invoke", "write", number), (0, "ok", "write", number)]
    judged = history(*lines, (1, "invoke", "read", None), (1, "ok", "read", 998))
    found = bars(drawn(linearizable("register")(judged), judged))
    assert len(found) == MAX_OPS
    assert {"1996", "1998", "2000"} <= set(found)


@given(st.text(), st.none() | st.text() | st.lists(st.integers()))
def test_whatever_the_ops_hold_it_is_well_formed(error: str, value: Any) -> None:
    judged = history((0, "invoke", error, value), (0, "ok", error, value))
    data = {"ops": [{"index": 0}], "blocked": 0}
    drawn(Verdict(error, "invalid", error, data=data), judged)
