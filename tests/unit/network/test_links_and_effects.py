"""Links, the mesh of them, and effects as toxics."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from harness.errors import UsageError
from harness.network import (
    Bandwidth,
    Drop,
    Latency,
    LimitData,
    Link,
    Reject,
    Reset,
    Slicer,
    SlowClose,
    mesh,
)
from harness.network.effects import ToxicState


def test_a_mesh_has_every_directed_path_and_every_port() -> None:
    nodes = ["node-1", "node-2", "node-3"]
    links = mesh(
        nodes,
        lambda _: {"peer": 7000, "api": 80},
        lambda node: f"127.9.0.{node[-1]}",
        lambda source, node: f"127.9.{250 if source == 'client' else source[-1]}.{node[-1]}",
    )
    assert len(links) == len(set(links)) == (3 * 2 + 3) * 2
    assert len({link.listen for link in links}) == len(links)
    one = next(link for link in links if link.name == "node-1>node-2:api")
    assert one == Link("node-1", "node-2", "api", ("127.9.1.2", 80), ("127.9.0.2", 80))
    assert {link.source for link in links} == {*nodes, "client"}
    assert not any(link.source == link.node for link in links)


@pytest.mark.parametrize("port", ["", "a/b", "a\nb"])
def test_names_that_an_address_of_the_api_cannot_hold_are_refused(port: str) -> None:
    with pytest.raises(UsageError, match="cannot be named"):
        Link("a", "b", port, ("127.0.0.1", 1), ("127.0.0.1", 2))


def test_a_link_is_frozen_and_can_be_pickled() -> None:
    link = Link("a", "b", "c", ("127.0.0.1", 1), ("127.0.0.1", 2))
    with pytest.raises(dataclasses.FrozenInstanceError):
        link.port = "d"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(link)) == link
    assert str(link) == "a>b:c"


@pytest.mark.parametrize(
    ("effect", "toxic"),
    [
        (Drop("to"), ToxicState("timeout", "upstream", {"timeout": 0})),
        (Latency(5, "from"), ToxicState("latency", "downstream", {"latency": 5, "jitter": 0})),
        (Bandwidth(7, "to"), ToxicState("bandwidth", "upstream", {"rate": 7})),
        (SlowClose(9, "to"), ToxicState("slow_close", "upstream", {"delay": 9})),
        (LimitData(3, "from"), ToxicState("limit_data", "downstream", {"bytes": 3})),
        (
            Slicer(10, delay_us=4, direction="to"),
            ToxicState("slicer", "upstream", {"average_size": 10, "size_variation": 0, "delay": 4}),
        ),
    ],
)
def test_an_effect_is_a_toxic_on_the_stream_it_names(effect: object, toxic: ToxicState) -> None:
    assert effect.toxics() == (toxic,)  # type: ignore[attr-defined]
    both = dataclasses.replace(effect, direction="both")  # type: ignore[type-var]
    assert [one.stream for one in both.toxics()] == ["upstream", "downstream"]  # type: ignore[attr-defined]


def test_effects_draw_nothing() -> None:
    effects = [Drop(), Latency(1), Bandwidth(1), Reset(), SlowClose(1), Slicer(1), LimitData(1)]
    for effect in effects:
        for toxic in effect.toxics():
            assert toxic.toxicity == 1.0
            assert not toxic.attributes.get("jitter")
            assert not toxic.attributes.get("size_variation")
    assert Reject().toxics() == ()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Drop("up"),  # type: ignore[arg-type]
        lambda: Latency(-1),
        lambda: Latency(1.5),  # type: ignore[arg-type]
        lambda: Latency(True),
        lambda: Bandwidth(0),
        lambda: Reset(-1),
        lambda: Reset(1001),
        lambda: SlowClose(-1),
        lambda: Slicer(0),
        lambda: LimitData(-1),
    ],
)
def test_numbers_that_toxiproxy_would_misread_are_refused(wrong: object) -> None:
    with pytest.raises(UsageError):
        wrong()  # type: ignore[operator]
