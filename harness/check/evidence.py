"""Why no order is legal, told to people: the sentence, the few ops involved, and a table of them.

The search, or a monitor, names the op that cannot be ordered. Often there is a proof of two or
three ops that needs no search to be believed (a value that was never written, or one that had been
replaced before the reader began); where there is none, the ops around the blocked one are shown
with the states that were possible there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.check import _object_proofs, _register_proofs
from harness.check._op_words import did, rows, when, who
from harness.check._reason import Reason, end_index
from harness.check.budget import Budget, OverBudgetError
from harness.check.models import UNSEEN, Entry, KeyValue, Model, Register
from harness.check.parts import Illegal
from harness.check.search import Found
from harness.history import Op

_SHOWN = 8  # ops in a table without a proof of its own
_STATES_SHOWN = 5
_LAST_SHOWN = 5  # ops of the legal order


@dataclass(frozen=True)
class Evidence:
    """`summary` is the sentence, `text` the sentence with its table, `data` both for programs."""

    summary: str
    text: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Case:
    """The op that has no place, why, and how far the others have one."""

    blocked: Op
    reason: Reason
    count: int  # ops in the longest legal order
    order: list[Op]  # … which they are, if that is known
    states: list[str]  # where all such orders lead


def explain(model: Model, illegal: Illegal, budget: Budget) -> Evidence:
    """The evidence for an object that was found to be illegal."""
    case = _judged(model, illegal, budget) if illegal.found is None else _searched(model, illegal)
    shown = sorted(case.reason.ops, key=lambda op: op.index)
    summary = _sentence(illegal.key, case.reason.sentence)
    text = "\n".join([summary, *rows(shown), *_longest(case)])
    data = {
        "key": case.blocked.key,
        "kind": case.reason.kind,
        "ops": [asdict(op) for op in shown],
        "blocked": case.blocked.index,
        "prefix": [op.index for op in case.order],
        "states": case.states,
    }
    return Evidence(summary, text, data)


def _searched(model: Model, illegal: Illegal) -> _Case:
    found = illegal.found
    assert found is not None and found.blocked is not None
    blocked = found.blocked.source
    if isinstance(model, KeyValue) and blocked.f == "append":
        unseen = _unseen_append(illegal.ops, blocked)
        if unseen is not None:
            return unseen
    proofs = _register_proofs if isinstance(model, Register) else _object_proofs
    reason = proofs.proof(model, illegal.everything, blocked)
    states = sorted({_words(model, illegal, state) for state in found.states})
    if reason is None:
        reason = _surroundings(illegal.ops, found.blocked, found, states)
    order = [entry.source for entry in found.prefix]
    return _Case(blocked, reason, len(order), order, states)


def _unseen_append(ops: Sequence[Op], append: Op) -> _Case | None:
    """The get that shows that `append` has no place: the search knows which texts will be got, and
    stops at an append that leads to none of them."""
    end = end_index(append)
    gets = [op for op in ops if op.f == "get" and op.end_index is not None and op.index > end]
    if not gets:
        return None
    get = min(gets, key=end_index)
    sentence = (
        f"{who(get)} {did(get)} {when(get)}, but {who(append)} had {did(append)} {when(append)}, "
        "and no order of what came before leads from there to that."
    )
    return _Case(get, Reason("unseen-append", sentence, [append, get]), 0, [], [])


def _words(model: Model, illegal: Illegal, state: Any) -> str:
    if state is UNSEEN and isinstance(model, KeyValue) and illegal.found is not None:
        state = model.start(illegal.ops)  # (which text it is makes no difference, but reads better)
        for entry in illegal.found.prefix:
            state = state if entry.observes else model.step(state, entry.source)
    return model.shown(state, illegal.ops)


def _judged(model: Model, illegal: Illegal, budget: Budget) -> _Case:
    from harness.check._prefix import longest_prefix

    judgement = illegal.judgement
    assert judgement is not None
    ops = list(judgement.ops)
    reason = Reason(judgement.kind or "no-order", judgement.sentence or "", ops)
    try:
        prefix = longest_prefix(model, illegal.ops, ops, budget)
    except OverBudgetError:
        prefix = None
    if prefix is None:
        return _Case(ops[-1], reason, 0, [], [])
    return _Case(prefix.blocked, reason, prefix.count, prefix.order, [])


def _sentence(key: Any, sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:] if key is None else f"Key {key!r}: {sentence}"


def _longest(case: _Case) -> list[str]:
    if not case.count:
        return []
    name = f"the {case.blocked.f} of {who(case.blocked)} {when(case.blocked)}"
    lines = [f"The longest legal order holds {case.count} ops and does not hold {name}."]
    if case.order:
        last = ", then ".join(f"{who(op)} {_tried(op)}" for op in case.order[-_LAST_SHOWN:])
        lines.append(f"It ends: {last}.")
    return lines


def _tried(op: Op) -> str:
    return did(op) if op.outcome != "info" else f"{did(op)} (without an answer)"


def _surroundings(ops: Sequence[Op], blocked: Entry, found: Found, states: list[str]) -> Reason:
    source = blocked.source
    if len(states) > _STATES_SHOWN:
        states = [*states[:_STATES_SHOWN], f"{len(states) - _STATES_SHOWN} others"]
    sentence = (
        f"{who(source)} {did(source)} {when(source)}, but every order of what ended before "
        f"leaves {' or '.join(states)}."
    )
    start, end = source.index, end_index(source)
    looks = {entry.source.index for entry in found.prefix if entry.observes}
    beside = [
        op
        for op in ops
        if op is not source
        and op.index < end
        and (op.end_index is None or op.end_index > start)
        and op.outcome != "fail"
        and op.index not in looks
    ]
    known = {op.index for op in (*beside, source)}
    before = [entry.source for entry in found.prefix if entry.source.index not in known]
    chosen = beside[-_SHOWN // 2 :]
    chosen += before[len(chosen) - _SHOWN :]
    return Reason("no-order", sentence, [*chosen, source])
