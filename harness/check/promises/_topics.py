"""Topics: what was published to each, and what its subscribers were given."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from harness.check._findings import brief
from harness.history import History, Op, hashable

_DELIVERS = ("deliver", "consume")
_FUNCTIONS = ("publish", "subscribe", "unsubscribe", *_DELIVERS)


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message as it was given: by which op, at which place of its answer."""

    message: Hashable
    op: Op
    place: int

    @property
    def end(self) -> int:
        """When it had arrived at the latest (ns)."""
        return self.op.start if self.op.end is None else self.op.end

    def ended_before(self, other: Delivered) -> bool:
        """Whether it certainly arrived earlier, by another op."""
        return self.end < other.op.start


@dataclass
class Subscriber:
    """`by_message` has what was given by message, the first one first. `last_asked` is the last op
    that gave it anything, or nothing. `periods` are the stretches in which it was subscribed (ns);
    None: always."""

    name: str
    deliveries: list[Delivered] = field(default_factory=list)
    by_message: dict[Hashable, list[Delivered]] = field(default_factory=dict)
    last_asked: Op | None = None
    periods: list[tuple[int, float]] | None = None

    def wants(self, publish: Op) -> bool:
        """Whether that message is due to it: published while it was certainly subscribed."""
        if self.periods is None:
            return True
        end = publish.start if publish.end is None else publish.end
        return any(since <= publish.start and end <= until for since, until in self.periods)


@dataclass
class Topic:
    """`attempts` are the publishes by message that have not certainly failed, `by_publisher` the
    first of each in order of its process, `refused` those of messages that all failed."""

    name: Hashable
    published: list[Op] = field(default_factory=list)
    attempts: dict[Hashable, list[Op]] = field(default_factory=dict)
    acknowledged: dict[Hashable, Op] = field(default_factory=dict)
    refused: dict[Hashable, Op] = field(default_factory=dict)
    by_publisher: dict[int, list[tuple[Hashable, Op]]] = field(default_factory=dict)
    subscribers: dict[Hashable, Subscriber] = field(default_factory=dict)


def topics(history: History, *, together: bool) -> list[Topic]:
    """The topics of a history; `together` counts all subscribers of one as a single one.

    O(n log n).
    """
    known = [op for op in history.ops if op.f in _FUNCTIONS]
    return [_topic(key, ops, together) for key, ops in History(known).by_key().items()]


def _topic(name: Hashable, ops: Iterable[Op], together: bool) -> Topic:
    topic = Topic(name)
    failed: dict[Hashable, Op] = {}
    for op in ops:
        message = hashable(op.value)
        if op.f != "publish":
            _subscriber(topic, op, together)
        elif op.outcome == "fail":
            failed.setdefault(message, op)
        else:
            topic.published.append(op)
            several = topic.attempts.setdefault(message, [])
            several.append(op)
            if op.outcome == "ok":
                topic.acknowledged.setdefault(message, op)
            if len(several) == 1:
                topic.by_publisher.setdefault(op.process, []).append((message, op))
    topic.refused = {one: op for one, op in failed.items() if one not in topic.attempts}
    for subscriber in topic.subscribers.values():
        subscriber.deliveries.sort(key=lambda given: (given.end, given.op.index, given.place))
        by_message: dict[Hashable, list[Delivered]] = defaultdict(list)
        for given in subscriber.deliveries:
            by_message[given.message].append(given)
        subscriber.by_message = dict(by_message)
    return topic


def _subscriber(topic: Topic, op: Op, together: bool) -> None:
    name: Hashable = None if together else hashable(op.value)
    told = "all subscribers" if together else brief(op.value)
    if name is None and not together:
        name = ("process", op.process)
        told = f"process {op.process}"
    one = topic.subscribers.setdefault(name, Subscriber(told))
    if op.f in _DELIVERS and op.outcome == "ok":
        if one.last_asked is None and one.periods is None and op.value is None and not together:
            # Without a name it may be the successor of a process that was retired: it is only
            # known to be there from now on.
            one.periods = [(op.start if op.end is None else op.end, float("inf"))]
        one.last_asked = op
        messages = enumerate(_messages(op))
        one.deliveries += [Delivered(message, op, place) for place, message in messages]
    elif op.f not in _DELIVERS and not together:
        _subscribe(one, op)


def _subscribe(one: Subscriber, op: Op) -> None:
    if one.periods is None:
        one.periods = []
    if op.f == "unsubscribe":
        if op.outcome != "fail" and one.periods:
            since, until = one.periods[-1]
            one.periods[-1] = since, min(until, op.start)
    elif op.outcome == "ok" and op.end is not None:
        one.periods.append((op.end, float("inf")))


def _messages(op: Op) -> list[Hashable]:
    if op.result is None:
        return []
    if isinstance(op.result, list | tuple):
        return list(map(hashable, op.result))
    return [hashable(op.result)]
