"""The assistant's answers over several nodes, on virtual time: complete, or ended with an error."""

from __future__ import annotations

import asyncio
import hashlib
from random import Random

import pytest

from targets.chat.app.models import Echo, Markov
from tests.support.chat_world import Chatter, World
from tests.support.virtual_mesh import run_pausably

PROMPT = "one two three four five six seven eight nine ten"


class Listener:
    """What a client makes of the events of one answer."""

    def __init__(self, chatter: Chatter) -> None:
        self._chatter = chatter

    @property
    def events(self):
        return [
            (event, payload)
            for event, payload in self._chatter.events
            if event in ("token", "stream_end", "stream_error")
        ]

    @property
    def text(self) -> str:
        """Of tokens that came in order and without gaps."""
        words: list[str] = []
        for event, payload in self.events:
            if event == "token":
                assert payload["index"] <= len(words), "a gap"
                if payload["index"] == len(words):
                    words.append(payload["text"])
        return "".join(words)

    @property
    def end(self):
        event, payload = self.events[-1]
        return event, payload

    def complete(self) -> bool:
        event, payload = self.end
        return (
            event == "stream_end"
            and payload["sha256"] == hashlib.sha256(self.text.encode()).hexdigest()
        )


async def two(world: World):
    """A client at each of two nodes; the first asks."""
    ada, bob = Chatter(world, "a", "ada"), Chatter(world, "b", "bob")
    assert await ada.connect() and await bob.connect()
    answer = await ada.push("ask", {"id": "q", "prompt": PROMPT, "model": "echo"})
    return ada, bob, answer["response"]["stream"]


def test_everybody_gets_all_of_it_and_the_hash(tmp_path):
    async def whole():
        async with World(tmp_path, Random(1), ("a", "b"), token_s=0.1) as world:
            ada, bob, stream = await two(world)
            again = await ada.push("ask", {"id": "q", "prompt": PROMPT, "model": "echo"})
            assert again["response"] == {"id": "q", "stream": stream}
            await asyncio.sleep(2)
            for chatter in (ada, bob):
                listener = Listener(chatter)
                assert listener.complete() and listener.text == PROMPT
                assert listener.end[1]["count"] == 10
            state = await bob.push("stream", {"stream": stream})
            assert state["response"]["text"] == PROMPT
            assert state["response"]["state"] == "ended"

    run_pausably(whole())


def test_who_comes_late_goes_on_from_the_state_it_is_told(tmp_path):
    async def whole():
        async with World(tmp_path, Random(1), ("a", "b"), token_s=0.1) as world:
            _, _, stream = await two(world)
            await asyncio.sleep(0.45)
            cyd = Chatter(world, "b", "cyd")
            await cyd.connect()
            state = cyd.streams[stream]
            assert state["state"] == "running" and 3 <= state["index"] <= 5
            await asyncio.sleep(2)
            tokens = [payload for event, payload in cyd.events if event == "token"]
            assert [one["index"] for one in tokens] == list(range(state["index"], 10))
            assert state["text"] + "".join(one["text"] for one in tokens) == PROMPT
            dan = Chatter(world, "a", "dan")
            await dan.connect()
            assert dan.streams[stream]["state"] == "ended"
            assert dan.streams[stream]["text"] == PROMPT

    run_pausably(whole())


def killed(tmp_path, mutant=None, models=None):
    async def whole():
        options = {} if models is None else {"models": models}
        async with World(
            tmp_path, Random(1), ("a", "b"), token_s=0.1, mutant=mutant, **options
        ) as world:
            ada, bob, stream = await two(world)
            await asyncio.sleep(0.45)
            ada.disconnect()
            world.kill("a")
            await asyncio.sleep(3)
            meanwhile = Listener(bob).end
            await world.start("a")
            await ada.connect()
            await asyncio.sleep(3)
            return Listener(ada), Listener(bob), meanwhile, ada.streams.get(stream)

    return run_pausably(whole())


def test_an_answer_goes_on_when_its_node_is_back(tmp_path):
    ada, bob, meanwhile, state = killed(tmp_path)
    assert meanwhile[0] == "stream_error"
    assert meanwhile[1]["reason"] == "origin lost" and not meanwhile[1]["final"]
    assert ada.end[0] == bob.end[0] == "stream_end"
    assert bob.complete() and bob.text == PROMPT
    assert state["state"] == "running"


def test_an_answer_that_cannot_go_on_ends_with_an_error(tmp_path):
    class Once(Echo):
        resumable = False

    _, bob, _, state = killed(tmp_path, models={"echo": Once()})
    event, payload = bob.end
    assert event == "stream_error"
    assert payload["reason"] == "interrupted" and payload["final"]
    assert state["state"] == "error" and state["reason"] == "interrupted"


def test_the_mutant_that_is_silent_is_never_heard_of_again(tmp_path):
    ada, bob, meanwhile, state = killed(tmp_path, "stream-silently-short")
    assert meanwhile[0] == bob.end[0] == "token"
    assert ada.end[0] == "token" and state is None


def cut(tmp_path, mutant=None):
    async def whole():
        async with World(tmp_path, Random(1), ("a", "b"), token_s=0.1, mutant=mutant) as world:
            _, bob, _ = await two(world)
            await asyncio.sleep(0.25)
            world.net.split({"a"}, {"b"})
            await asyncio.sleep(0.4)
            world.net.heal()
            await asyncio.sleep(3)
            return Listener(bob)

    return run_pausably(whole())


def test_tokens_that_were_missed_are_fetched_in_their_order(tmp_path):
    bob = cut(tmp_path)
    assert bob.complete() and bob.text == PROMPT


def test_the_mutant_that_does_not_mind_gaps_leaves_some(tmp_path):
    with pytest.raises(AssertionError, match="a gap"):
        assert cut(tmp_path, "token-gaps").text


def test_an_answer_that_ended_behind_a_cut_comes_whole_with_its_end(tmp_path):
    async def whole():
        async with World(tmp_path, Random(1), ("a", "b"), token_s=0.1) as world:
            _, bob, _ = await two(world)
            await asyncio.sleep(0.25)
            world.net.split({"a"}, {"b"})
            await asyncio.sleep(4)
            assert Listener(bob).end[0] == "stream_error"
            world.net.heal()
            await asyncio.sleep(2)
            assert Listener(bob).complete() and Listener(bob).text == PROMPT

    run_pausably(whole())


class Failing:
    resumable = True

    async def stream(self, prompt, random):
        yield "I"
        raise RuntimeError("no more")


def test_a_model_that_fails_ends_the_answer_and_nothing_else(tmp_path):
    async def whole():
        models = {"echo": Echo(), "failing": Failing()}
        async with World(tmp_path, Random(1), ("a",), models=models) as world:
            ada = Chatter(world, "a", "ada")
            await ada.connect()
            await ada.push("ask", {"id": "q", "prompt": "?", "model": "failing"})
            await asyncio.sleep(0.5)
            event, payload = Listener(ada).end
            assert (event, payload["reason"]) == ("stream_error", "the model failed")
            unknown = await ada.push("ask", {"id": "r", "prompt": "?", "model": "other"})
            assert unknown["response"] == {"reason": "unknown model"}
            assert (await ada.say("m"))["status"] == "ok"

    run_pausably(whole())


class Endless:
    resumable = True

    async def stream(self, prompt, random):
        while True:
            yield "and so on " * 100


def test_an_answer_without_an_end_ends_with_an_error(tmp_path):
    async def whole():
        models = {"endless": Endless()}
        async with World(tmp_path, Random(1), ("a",), models=models) as world:
            ada = Chatter(world, "a", "ada")
            await ada.connect()
            await ada.push("ask", {"id": "q", "prompt": "?", "model": "endless"})
            await asyncio.sleep(2)
            event, payload = Listener(ada).end
            assert (event, payload["reason"]) == ("stream_error", "too long")
            assert len(Listener(ada).text) <= 32 * 1024

    run_pausably(whole())


@pytest.mark.parametrize("model", [Echo(), Markov("a b c a c b a")])
def test_the_local_models_say_the_same_again(model):
    async def words(seed):
        return [word async for word in model.stream("a question", Random(seed))]

    async def whole():
        first = await words(7)
        assert first == await words(7)
        assert "".join(first).strip()

    asyncio.run(whole())
