"""Delivery: every message arrives, once, in order, and none that was never sent."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from harness.check._arguments import word
from harness.check._findings import Findings, brief, judge, told_op
from harness.check._text import many
from harness.check.promises._topics import Delivered, Subscriber, Topic, topics
from harness.check.verdict import Verdict
from harness.errors import UsageError
from harness.history import History, Op

To: TypeAlias = Literal["each", "any"]


@dataclass(frozen=True)
class Delivery:
    """The check that `delivery` makes."""

    at_least_once: bool
    at_most_once: bool
    ordered: bool
    to: To

    @property
    def name(self) -> str:
        promised = [
            word
            for word, on in (
                ("at least once", self.at_least_once),
                ("at most once", self.at_most_once),
                ("ordered", self.ordered),
            )
            if on
        ]
        return f"delivery({', '.join(promised)}, to {self.to})"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        found = Findings("lost", "phantom", "of-refused", "duplicate", "out-of-order")
        counts = dict.fromkeys(("published", "delivered", "due", "not_asked_for", "repeated"), 0)
        subscribers = 0
        for topic in topics(history, together=self.to == "any"):
            counts["published"] += len(topic.published)
            subscribers += len(topic.subscribers)
            for subscriber in topic.subscribers.values():
                counts["delivered"] += len(subscriber.deliveries)
                self._judge(topic, subscriber, found, counts)
        unknown = None
        if not counts["published"] or not subscribers:
            lacking = "published" if not counts["published"] else "asked for"
            unknown = (
                f"Nothing was tested: no message was {lacking} (expected: publish of an id to a "
                "topic as the key, deliver of ids from it)."
            )
        elif self.at_least_once and not counts["due"]:
            unknown = (
                "Nothing was tested: no subscriber asked for anything after a message was "
                "acknowledged."
            )
        elif not self.at_least_once and not counts["delivered"]:
            unknown = "Nothing was tested: nothing was delivered."
        told = (
            f"{many(counts['published'], 'message')}, {many(subscribers, 'subscriber')}, "
            f"{counts['delivered']} delivered, {counts['repeated']} of them again"
        )
        return judge(
            self.name,
            began,
            found,
            ops=len(history),
            told=told,
            unknown=unknown,
            data={**counts, "subscribers": subscribers},
        )

    def _judge(
        self, topic: Topic, subscriber: Subscriber, found: Findings, counts: dict[str, int]
    ) -> None:
        who = f"{subscriber.name} of topic {topic.name!r}"
        for message, several in subscriber.by_message.items():
            sent = topic.attempts.get(message)
            op = several[0].op
            if sent is None:
                what = told_op(op, f"gave {brief(message)} to {who}")
                if message in topic.refused:
                    refused = topic.refused[message]
                    found.add("of-refused", f"{what}, whose publishing had failed", refused, op)
                else:
                    found.add("phantom", f"{what}, which nobody ever published there", op)
                continue
            if op.end is not None and op.end < min(one.start for one in sent):
                what = told_op(op, f"gave {brief(message)} to {who}")
                found.add("phantom", f"{what} before it was published", op, sent[0])
            again = len(several) - len(sent)
            counts["repeated"] += max(0, again)
            if self.at_most_once and again > 0:
                times = f"{len(several)} times, and it was published "
                times += "once" if len(sent) == 1 else f"{len(sent)} times"
                shown = {one.op.index: one.op for one in several}.values()
                found.add("duplicate", f"{brief(message)} was given to {who} {times}", *shown)
        if self.at_least_once:
            self._lost(topic, subscriber, who, found, counts)
        if self.ordered:
            _out_of_order(topic, subscriber, who, found)

    def _lost(
        self,
        topic: Topic,
        subscriber: Subscriber,
        who: str,
        found: Findings,
        counts: dict[str, int],
    ) -> None:
        for message, op in topic.acknowledged.items():
            if not subscriber.wants(op):
                continue
            asked = subscriber.last_asked
            if message in subscriber.by_message:
                counts["due"] += 1
            elif asked is None or op.end is None or asked.start < op.end:
                counts["not_asked_for"] += 1
            else:
                counts["due"] += 1
                what = told_op(op, f"published {brief(message)}, and it was acknowledged")
                sentence = f"{what}, but it never came to {who}, who still asked later"
                found.add("lost", sentence, op, asked)


def delivery(
    *,
    at_least_once: bool = True,
    at_most_once: bool = True,
    ordered: bool = True,
    to: To = "each",
) -> Delivery:
    """Check what a broker promises: every message arrives, once, and in order.

    Ops: `publish` (key: the topic; value: the id of the message) and `deliver` or `consume` (key:
    the topic; answers with an id or a list of ids, None for none; value: the subscriber's name, or
    else it is the process). With `to="any"`, a message is due to any one of the subscribers of its
    topic, with "each" to each of them: those published while it was subscribed, if there are ops
    `subscribe` and `unsubscribe` of it; else all, if it has a name; else those published after it
    was first answered. A message may arrive as often as it was published, publishes of unknown
    outcome included.

    Anomalies: `lost`, acknowledged and never delivered, though the subscriber began to ask after
    the acknowledgement and was answered (so let each ask once more when everything has had time to
    arrive; a `deliver` of unknown outcome delivers nothing: what did not arrive must come again);
    `phantom`, never published to that topic, or not yet; `of-refused`, though every publishing of
    it failed; `duplicate`; `out-of-order`: of two messages that one process published one after the
    other, the later one came first. Each of the three promises can be left out.

    `unknown`: nothing was published or asked for, or no subscriber asked late enough. O(n log n).

    Example: publish 1 ok, publish 2 ok, deliver to "a" [2] is `invalid`, `lost`; [2, 1] is
    `invalid`, `out-of-order`.
    """
    if not (at_least_once or at_most_once or ordered):
        raise UsageError("delivery() promises nothing.", do="Leave one of the promises on.")
    word(to, "to", ("each", "any"))
    return Delivery(at_least_once, at_most_once, ordered, to)


def _out_of_order(topic: Topic, subscriber: Subscriber, who: str, found: Findings) -> None:
    for line in topic.by_publisher.values():
        arrived = [
            (op, subscriber.by_message[message][0])
            for message, op in line
            if message in subscriber.by_message
        ]
        _inversions(arrived, who, found)


def _inversions(arrived: Sequence[tuple[Op, Delivered]], who: str, found: Findings) -> None:
    # From the last published to the first: of the later ones, the one that certainly came first.
    soonest: tuple[Op, Delivered] | None = None
    within: dict[int, tuple[Op, Delivered]] = {}  # by deliver op: the later one that came first
    for op, given in reversed(arrived):
        late = within.get(given.op.index)
        if late is not None and late[1].place > given.place:
            late = None
        if soonest is not None and soonest[1].ended_before(given):
            late = soonest
        if late is not None:
            sentence = (
                f"{brief(late[0].value)} came to {who} before {brief(op.value)}, which process "
                f"{op.process} had published earlier"
            )
            found.add("out-of-order", sentence, op, late[0], late[1].op)
        if soonest is None or given.end < soonest[1].end:
            soonest = op, given
        first = within.get(given.op.index)
        if first is None or given.place < first[1].place:
            within[given.op.index] = op, given
