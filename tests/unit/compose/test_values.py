"""Durations, sizes, commands, ports and pairs, as compose files write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.compose import values
from harness.compose.places import At, Notes
from harness.errors import UsageError


def at(value: Any) -> At:
    return At("services.web.key", value, Notes(Path("compose.yml")))


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("10s", 10),
        ("1m30s", 90),
        ("500ms", 0.5),
        ("2h", 7200),
        ("1.5s", 1.5),
        ("10us", 1e-5),
        (0, 0),
    ],
)
def test_durations(said: object, seconds: float) -> None:
    assert values.duration_s(at(said)) == pytest.approx(seconds)


@pytest.mark.parametrize("said", ["10", "s", "1 s", "-1s", "10d", [], True])
def test_what_is_no_duration(said: object) -> None:
    with pytest.raises(UsageError, match=r"compose.yml: services.web.key is "):
        values.duration_s(at(said))


@pytest.mark.parametrize(
    ("said", "size"),
    [
        (1024, 1024),
        ("300k", 300 * 1024),
        ("512M", 512 * 1024**2),
        ("1.5gb", 3 * 1024**3 // 2),
        ("2GiB", 2 * 1024**3),
        ("10b", 10),
    ],
)
def test_sizes(said: object, size: int) -> None:
    assert values.size_bytes(at(said)) == size


@pytest.mark.parametrize("said", ["much", "-1", "1x", {}])
def test_what_is_no_size(said: object) -> None:
    with pytest.raises(UsageError):
        values.size_bytes(at(said))


@pytest.mark.parametrize(
    ("said", "argv"),
    [
        (
            "redis-server --save '' --appendonly no",
            ("redis-server", "--save", "", "--appendonly", "no"),
        ),
        (["sh", "-c", "echo $x"], ("sh", "-c", "echo $x")),
        (["sleep", 5], ("sleep", "5")),
        ('sh -c "a && b"', ("sh", "-c", "a && b")),
        ("", ()),
    ],
)
def test_commands(said: object, argv: tuple[str, ...]) -> None:
    assert values.words(at(said)) == argv


def test_a_quote_that_is_not_closed() -> None:
    with pytest.raises(UsageError, match="No closing quotation"):
        values.words(at("echo 'hello"))


@pytest.mark.parametrize(
    ("said", "ports"),
    [
        ("3000", {3000}),
        (3000, {3000}),
        ("8000:80", {80}),
        ("127.0.0.1:8000:80", {80}),
        ("127.0.0.1::80", {80}),
        ("[::1]:8000:80", {80}),
        ("8000:80/tcp", {80}),
        ("3000-3002", {3000, 3001, 3002}),
        ("9090-9091:8080-8081", {8080, 8081}),
        ({"target": 80, "published": "8080", "mode": "ingress"}, {80}),
        ({"target": "80", "protocol": "tcp"}, {80}),
    ],
)
def test_ports_are_those_of_the_container(said: object, ports: set[int]) -> None:
    one = at(said)
    assert values.ports(one) == ports
    assert not one.notes.ignored


@pytest.mark.parametrize("said", ["53:53/udp", {"target": 53, "protocol": "udp"}])
def test_other_protocols_are_named(said: object) -> None:
    one = at(said)
    assert values.ports(one) == set()
    assert "udp is not linked" in one.notes.ignored["services.web.key"]


@pytest.mark.parametrize(
    "said", ["http", "80:", "0", "70000", "90-80", {"published": 1}, 1.5, None]
)
def test_what_is_no_port(said: object) -> None:
    with pytest.raises(UsageError, match=r"services.web.key"):
        values.ports(at(said))


def test_an_environment_is_a_mapping_or_a_list() -> None:
    known = {"HOME": "/root"}
    mapping = {"A": 1, "B": True, "C": 1.5, "D": "x=y", "HOME": None, "NOT_SET": None, "E": ""}
    listed = ["A=1", "B=true", "C=1.5", "D=x=y", "HOME", "NOT_SET", "E="]
    meant = {"A": "1", "B": "true", "C": "1.5", "D": "x=y", "HOME": "/root", "E": ""}
    assert values.environment(at(mapping), known) == meant
    assert values.environment(at(listed), known) == meant


@given(st.integers(1, 65535), st.integers(1, 65535))
def test_any_mapping_of_ports_means_the_one_in_the_container(published: int, port: int) -> None:
    assert values.ports(at(f"{published}:{port}")) == {port}
    assert values.ports(at(f"0.0.0.0:{published}:{port}/tcp")) == {port}


@given(st.lists(st.text(min_size=1)))
def test_a_command_as_a_list_is_taken_word_for_word(argv: list[str]) -> None:
    assert values.words(at(argv)) == tuple(argv)
