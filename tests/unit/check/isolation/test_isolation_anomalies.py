"""Every anomaly has a history that shows it and nothing else, in the midst of a sound one."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from harness.check.isolation import list_append, rw_register
from harness.check.isolation.anomalies import CYCLES, EMPTY, GRAVITY
from harness.check.isolation.models import MODELS, ruled_out
from harness.history import History
from tests.support.databases import Database, simulate
from tests.support.transactions import after, at_once

LISTS: dict[str, list[str]] = {
    "G0": ["ax1 ay1", "ax2 ay2", "rx12", "ry21"],
    "G1c": ["ax1 ry1", "ay1 rx1"],
    "G-single-item": ["ax1 ay1", "rx1 ry"],
    "G-nonadjacent-item": ["ax1", "rx1 ry", "ay1", "ry1 rx"],
    "G2-item": ["rx ay1", "ry ax1"],
    "internal": ["ax1 rx"],
    "future-read": ["rx1 ax1"],
    "G1a": ["!ax1", "rx1"],
    "incompatible-order": ["ax1", "ax2", "rx12", "rx21"],
    "duplicate-elements": ["ax1", "rx11"],
    "phantom-read": ["ax1", "rx17"],
}
REGISTERS: dict[str, list[str]] = {
    "G1c": ["wx1 ry=1", "wy1 rx=1"],
    "G-single-item": ["wx1 wy1", "rx=1 ry="],
    "G-nonadjacent-item": ["wx1", "rx=1 ry=", "wy1", "ry=1 rx="],
    "G2-item": ["rx= wy1", "ry= wx1"],
    "internal": ["wx1 rx=2", "wx2"],
    "G1a": ["!wx1", "rx=1"],
    "G1b": ["wx1 wx2", "rx=1"],
    "lost-update": ["wx9", "rx=9 wx1", "rx=9 wx2"],
    "phantom-read": ["wx1", "rx=1", "rx=7"],
    "cyclic-versions": ["<wx1", "<wx2", "rx=1"],
}
ORDERED: dict[str, list[str]] = {
    "G0": ["rx21", "<ax1", "ax2"],
    "G1c": ["<rx1", "ax1"],
    "G-single-item": ["<ax1", "rx"],
    "G-nonadjacent-item": ["ax1", "rx1 ry", "<ay1", "rx"],
    "G2-item": ["ax1 ry", "<ay1", "rx"],
}
"""Where `<` says that one ended before the next one began, in the same process."""


def midst(texts: list[str], seed: int, *, registers: bool = False) -> History:
    return after(simulate(Database, seed, count=40, registers=registers), at_once(*texts))


@pytest.mark.parametrize("kind", LISTS)
def test_lists_show_it_and_nothing_else(kind: str) -> None:
    for seed in range(3):
        _assert_shown(list_append, midst(LISTS[kind], seed), kind)


@pytest.mark.parametrize("kind", REGISTERS)
def test_registers_show_it_and_nothing_else(kind: str) -> None:
    known = {"linearizable_keys": True} if kind == "cyclic-versions" else {}
    for seed in range(3):
        history = midst(REGISTERS[kind], seed, registers=True)
        _assert_shown(rw_register, history, kind, **known)


@pytest.mark.parametrize("kind", ORDERED)
@pytest.mark.parametrize(
    ("order", "model"),
    [("-process", "strong-session-serializable"), ("-realtime", "strict-serializable")],
)
def test_orders_show_it_and_nothing_else(kind: str, order: str, model: str) -> None:
    for seed in range(3):
        history = midst(ORDERED[kind], seed)
        verdict = list_append(model)(history)
        assert (verdict.result, verdict.anomalies) == ("invalid", [kind + order])
        assert ruled_out([kind + order]) == {*verdict.data["not"], *verdict.data["also_not"]}
        assert list_append("serializable")(history).valid
        if order == "-realtime":
            # Another process may be told late; only real time forbids it.
            history.ops[-1].process += 99
            assert list_append("strong-session-serializable")(history).valid
            assert list_append(model)(history).anomalies == [kind + order]


def test_all_that_is_ever_reported_is_shown() -> None:
    pairs = {"lost-update", "dirty-update"}  # (They come with others; see below.)
    ordered = {kind + order for kind in CYCLES for order in ("-process", "-realtime")}
    assert {*LISTS, *REGISTERS, *ordered, *pairs, EMPTY} == set(GRAVITY)


def test_a_write_on_top_of_one_that_failed() -> None:
    history = midst(["!ax1", "ax2", "rx12"], 0)
    assert list_append().name == "list-append(strict-serializable)"
    assert list_append()(history).anomalies == ["dirty-update", "G1a"]
    verdict = list_append(None, anomalies=["dirty-update"])(history)
    assert verdict.anomalies == ["dirty-update"]
    assert verdict.data["cases"] == {"dirty-update": 1}


@pytest.mark.parametrize("texts", [["!ax1", "?ax2", "rx12"], ["?ax1", "ax2", "rx12"]])
def test_no_write_on_top_of_one_that_failed(texts: list[str]) -> None:
    assert "dirty-update" not in list_append()(midst(texts, 0)).anomalies


def test_lists_lose_an_update() -> None:
    history = midst(["ax9", "rx9 ax1", "rx9 ax2"], 0)
    assert list_append()(history).anomalies == ["lost-update", "G2-item"]
    assert list_append(None, anomalies=["lost-update"])(history).anomalies == ["lost-update"]
    for sound in (["ax9", "rx9 ax1", "rx91 ax2"], ["ax9", "rx9 ax1", "ax2 rx912"]):
        assert list_append()(midst(sound, 0)).valid


def test_lists_show_an_intermediate_read() -> None:
    history = midst(["ax1 ax2", "rx1"], 0)
    assert list_append()(history).anomalies == ["G1b", "G-single-item"]
    assert list_append(None, anomalies=["G1b"])(history).anomalies == ["G1b"]
    assert list_append()(midst(["ax1 rx1 ax2 rx12", "rx12"], 0)).valid


def test_what_one_transaction_appends_stands_in_its_order() -> None:
    for read in ("rx213", "rx3", "rx23"):
        verdict = list_append()(midst(["ax1 ax2 ax3", read], 0))
        assert verdict.anomaly == "incompatible-order", read
    assert list_append()(midst(["ax1 ax2 ax3", "rx123"], 0)).valid


@pytest.mark.parametrize(
    ("texts", "kinds"),
    [
        # 2 has a place in another order than the longest, which is not known to be a late one.
        (["ax1", "ax2 ay1", "ax3", "ax4 ry1", "rx12", "rx134"], {"incompatible-order"}),
        (["ax1", "ax2", "rx121"], {"duplicate-elements"}),
        (["ax1", "rx rx1"], {"internal", "G-single-item"}),
        (["ax1", "ax2", "rx2 rx12"], {"internal", "incompatible-order"}),
    ],
)
def test_what_is_known_of_lists_that_are_wrong(texts: list[str], kinds: set[str]) -> None:
    assert set(list_append()(midst(texts, 0)).anomalies) == kinds


SOUND = [
    ["?ax1", "rx1"],
    ["?ax1", "rx", "ax2 rx2"],
    ["ax1 rx1 ax2 rx12", "rx12 ax3"],
    ["rx ax1", "rx1 ax2", "rx12"],
    ["!ax1", "rx", "ax2"],
    ["rx rx ax1 rx1"],
]


@pytest.mark.parametrize("texts", SOUND)
def test_sound_lists(texts: list[str]) -> None:
    for model in MODELS:
        assert list_append(model)(midst(texts, 1)).valid


def _assert_shown(make: Any, history: History, kind: str, **known: Any) -> None:
    """Exactly those models do not hold that the anomaly rules out."""
    impossible = ruled_out([kind])
    assert impossible
    for model in MODELS:
        verdict = make(model, **known)(history)
        assert verdict.result == ("invalid" if model in impossible else "valid"), model
        assert verdict.anomalies == ([kind] if model in impossible else [])
        assert {*verdict.data["not"], *verdict.data["also_not"]} == impossible
        assert verdict.model == model
        if verdict.result == "invalid":
            assert kind in verdict.evidence
            assert 2 <= len(verdict.evidence.splitlines()) <= 15
            assert "\n" not in verdict.summary
            assert verdict.data["kind"] == kind
        orjson.dumps(verdict.to_json())
