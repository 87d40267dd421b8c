"""What every inference starts from and what it hands on: transactions, dependencies, cases."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.check.budget import Budget
from harness.check.isolation.graph import Builder, Label
from harness.history import History, Op, hashable

MicroOps = Sequence[Any]

READS = frozenset({"r", "read"})
WRITES = frozenset({"w", "write", "append"})


class UnfitError(Exception):
    """The history is none of such transactions. It becomes `unknown`; callers never see it."""


@dataclass(frozen=True)
class Case:
    """One anomaly that needs no cycle to be seen.

    `sentence` tells it with `{0}`, `{1}` … for the transactions that `ops` lists (values in it are
    `quoted`); `key` is whose micro-ops to show.
    """

    kind: str
    sentence: str
    ops: tuple[Op, ...]
    key: Any


@dataclass
class Cases:
    """The first case of each kind, and how many there are."""

    first: dict[str, Case] = field(default_factory=dict)
    count: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, key: Any, sentence: str, *ops: Op) -> None:
        """One more."""
        self.count[kind] = self.count.get(kind, 0) + 1
        if kind not in self.first:
            self.first[kind] = Case(kind, sentence, ops, key)


@dataclass(frozen=True)
class Inference:
    """What a history says about the order of its transactions.

    `ops` are the transactions that may have been committed: the first nodes of the graph.
    `because(a, b, label)` says why `ops[a]` precedes `ops[b]`, with `{0}` and `{1}` for the two,
    and names the key.
    """

    ops: Sequence[Op]
    builder: Builder
    cases: Cases
    because: Callable[[int, int, Label], tuple[str, Any]]
    in_real_time: Sequence[Callable[[History, Budget], Inference | None]] | None = None
    """What else to look at, one after another, where all see each key advance in real time: adds
    cases, or infers again with what follows from that."""


def micro_ops(op: Op) -> MicroOps:
    """What the transaction did, as far as is known: its answers if it is ok, else what it asked.

    Raises `UnfitError` for what is no list, or an answer that is missing.
    """
    told = op.value
    if op.outcome == "ok":
        if op.result is not None:
            told = op.result
        elif isinstance(told, list | tuple) and not all(_writes(micro) for micro in told):
            raise UnfitError(f"op {op.index} is ok, but what it read is not in the history")
    elif told is None:
        told = op.result
    if told is None:
        return ()
    if not isinstance(told, list | tuple):
        raise UnfitError(f"op {op.index} is no list of micro-ops, but {shown(told)}")
    return told


def _writes(micro: Any) -> bool:
    return isinstance(micro, list | tuple) and len(micro) > 0 and hashable(micro[0]) in WRITES


def unfit_micro_op(op: Op, micro: Any, wanted: str) -> UnfitError:
    """The error for one that is neither a read nor what is `wanted`."""
    return UnfitError(f'op {op.index} holds {shown(micro)}, which is neither ["r", …] nor {wanted}')


def written_twice(op: Op, key: Any, value: Any) -> UnfitError:
    """The error where nobody can tell who wrote what was read."""
    return UnfitError(
        f"op {op.index} writes {shown(value)} to {shown(key)}, which another write had used; "
        "every value must be written once only to each key"
    )


def plain(ops: Iterable[Op], *, as_lists: bool) -> Iterator[Op]:
    """The same ops with keys and values that can be hashed, where JSON has lists or maps. With
    `as_lists`, what was read is a list of values and not a value."""
    for op in ops:
        yield Op(
            op.process,
            op.f,
            op.key,
            _plain(op.value, as_lists),
            op.outcome,
            _plain(op.result, as_lists),
            op.start,
            op.end,
            op.index,
            op.end_index,
            op.node,
            op.error,
            op.final,
        )


def _plain(told: Any, as_lists: bool) -> Any:
    if not isinstance(told, list | tuple):
        return told
    return [_plain_micro(micro, as_lists) for micro in told]


def _plain_micro(micro: Any, as_lists: bool) -> Any:
    try:
        f, key, value = micro
    except (TypeError, ValueError):
        return micro
    if as_lists and hashable(f) in READS and isinstance(value, list | tuple):
        return [f, hashable(key), list(map(hashable, value))]
    return [f, hashable(key), hashable(value)]


def quoted(value: Any) -> str:
    """A value within a sentence with places for transactions: its own braces are none."""
    return shown(value).replace("{", "{{").replace("}", "}}")


def shown(value: Any, most: int = 60) -> str:
    """A value within a sentence: long ones are cut in the middle, as ends of lists say most."""
    if isinstance(value, list | tuple):
        text = "[" + " ".join(map(repr, value)) + "]"
    else:
        text = repr(value)
    if len(text) <= most:
        return text
    return f"{text[: most // 3]} … {text[-most // 2 :]}"
