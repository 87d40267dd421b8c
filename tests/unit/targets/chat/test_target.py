"""How a chat is described to the harness, and what its workload asks for."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest

from harness import Request
from harness.errors import UsageError
from harness.target import Node
from targets.chat import Chat, chat_workload
from targets.chat.app.settings import MUTANTS, Settings
from targets.chat.letters import author, body, letter, question, times, user_of


def node(name: str = "node-1") -> Node:
    return Node(name, "127.0.0.1", Path("/nowhere"))


def test_a_node_is_told_who_the_others_are() -> None:
    target = Chat(nodes=2, mutant="no-catch-up", token_s=0.1)
    (text,) = target.files(node(), ()).values()
    told = Settings(**json.loads(text))
    assert list(told.members) == ["node-1", "node-2"]
    assert (told.name, told.mutant, told.token_s) == ("node-1", "no-catch-up", 0.1)


def test_redis_is_a_dependency_of_that_adapter_alone() -> None:
    assert Chat().all_names == ("node-1", "node-2", "node-3")
    target = Chat(adapter="redis")
    assert target.all_names == ("redis", "node-1", "node-2", "node-3")
    assert target.probes.keys() == {"http", "redis"}
    assert target.files(node("redis"), ()) == {}
    (text,) = target.files(node(), ()).values()
    assert json.loads(text)["adapter"] == "redis"
    assert Chat.dependencies == {}


@pytest.mark.parametrize(
    "options",
    [{"adapter": "nats"}, {"queue_bytes": 0}, {"token_s": 0}, {"mutant": "fast"}],
)
def test_what_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Chat(**options)


def test_what_the_log_says() -> None:
    said = '{"event":"drained","at":12.5,"sockets":3}'
    assert Chat().event(said) == (12.5, "drained", {"sockets": 3})
    assert Chat().event('{"event":"link","at":12.5}') is None
    for line in ("Traceback", '{"event":"drained"', "[]", '{"event":"drained","at":"x"}'):
        assert Chat().event(line) is None


def test_every_mutant_has_a_sentence() -> None:
    assert Chat.mutants is MUTANTS
    assert len(MUTANTS) >= 6


# The workload


def requests(client: int, seed: int = 1, **options: Any) -> list[Request]:
    stream = chat_workload(**options).requests(random.Random(seed), client, {})
    return list(itertools.islice(stream, 400))


def test_a_seed_gives_the_same_operations() -> None:
    options: dict[str, Any] = {"visits": 0.3, "asks": 0.1}
    assert requests(2, **options) == requests(2, **options)
    assert requests(2, **options) != requests(2, seed=2, **options)


def test_no_id_is_used_twice_and_visits_take_turns() -> None:
    asked = requests(3, visits=0.4, asks=0.2)
    ids = [one.value for one in asked if one.f in ("publish", "ask")]
    assert len(ids) == len(set(ids)) > 100
    assert {author(id) for id in ids} == {user_of(3)}
    steps = [one.f for one in asked if one.f in ("enter", "leave")]
    assert steps[0] == "enter"
    assert all(one != next for one, next in itertools.pairwise(steps))


def test_everybody_takes_what_has_come_to_all_their_windows_in_the_end() -> None:
    workload = chat_workload(sockets=3, asks=0.1)
    assert workload.own_final is not None
    asked = workload.own_final(7)
    assert [one.f for one in asked] == ["deliver"] * 3 + ["streams"] * 3
    assert {one.value for one in asked} == {"u7"}


def test_letters_say_the_same_every_time() -> None:
    id = letter(3, 17, again=True)
    assert (author(id), times(id), times(letter(3, 17))) == ("u3", 2, 1)
    assert author(question(12, 1)) == "u12"
    assert body(id, 40) == body(id, 40) != body(letter(3, 18), 40)
    assert len(body(id, 6000)) == 6000
