"""The checks by name, for the command line: `harness check FILE --model NAME`.

What a check judges is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from harness.errors import UsageError
from harness.units import Duration

if TYPE_CHECKING:
    from harness.check.verdict import Check, Verdict
    from harness.history import History

_MODELS: Final[Mapping[str, str]] = {
    "register": "linearizable: a value that is read and written",
    "cas-register": "linearizable: a register with compare-and-set",
    "multi-register": "linearizable: several registers, read and written together",
    "mutex": "linearizable: a lock",
    "owned-mutex": "linearizable: a lock that only its holder releases",
    "fenced-mutex": "linearizable: a lock that gives fencing tokens",
    "fifo-queue": "linearizable: a queue, first in, first out",
    "unordered-queue": "linearizable: a queue that gives its items in any order",
    "stack": "linearizable: last in, first out",
    "kv": "linearizable: texts by key, with get, put and append",
    "linearizable-set": "linearizable: a set with add, remove, contains and read",
    "linearizable-counter": "linearizable: a number with add and read",
}
_ISOLATION: Final[Mapping[str, str]] = {
    "list-append": "isolation of transactions that append to lists and read them",
    "rw-register": "isolation of transactions that write and read registers",
}
_WORKLOADS: Final[Mapping[str, str]] = {
    "set": "what was added is in the last read (with remove or contains: linearizable-set)",
    "set-full": "every element, once visible, stays so; how long that takes",
    "counter": "each read lies within what was acknowledged and attempted",
    "bank": "all balances of a read add up to the same total",
    "queue": "whatever is dequeued was enqueued, once for each time",
    "total-queue": "what was enqueued comes out",
    "unique-ids": "no id is given twice",
    "long-fork": "no two reads see two writes in opposite orders",
    "causal": "reads of registers are causally consistent",
    "comments": "who sees a write sees those that had ended before it began",
    "sequential": "who sees a later write of a process sees the earlier ones",
    "read-your-writes": "session guarantee",
    "monotonic-reads": "session guarantee",
    "monotonic-writes": "session guarantee",
    "writes-follow-reads": "session guarantee",
}
_PROMISES: Final[Mapping[str, str]] = {
    "delivery": "messages arrive at least once, at most once, in order",
    "ownership": "no key has two owners at once; fencing tokens grow",
    "tenant-isolation": "no answer holds another tenant's data",
}
_RUNS: Final[Mapping[str, str]] = {
    "available": "60 % of the ops were answered",
    "converged": "all nodes give the same final answers within 5 s",
    "idempotent": "every charge has one effect in the ledger",
}
NAMES: Final[Mapping[str, str]] = {**_MODELS, **_ISOLATION, **_WORKLOADS, **_PROMISES, **_RUNS}
"""Every name, with what the check demands."""

_ALIASES: Final[Mapping[str, str]] = {
    "append": "list-append",
    "knossos-set": "linearizable-set",
    "porcupine-kv": "kv",
    "wr-register": "rw-register",
}
_PREFIXES = ("elle-", "jepsen-", "knossos-")
_SESSIONS = ("read-your-writes", "monotonic-reads", "monotonic-writes", "writes-follow-reads")
_WITH_LIMITS = ("causal", "long-fork", *_SESSIONS)
_WITH_INITIAL = ("causal", "counter")


def check_named(
    name: str,
    *,
    consistency_model: str | None = None,
    initial: Any = None,
    timeout: Duration = 30,
    memory: int | None = None,
) -> Check:
    """The check of that name with its usual arguments, one of `NAMES`; spellings of Jepsen, Knossos
    and Elle are known as well (`knossos-mutex`, `elle-list-append`, `append`).

    `consistency_model` (one, or several with commas) is for `list-append` and `rw-register`;
    `initial`, a JSON value, for the linearizable ones, `rw-register`, `counter` and `causal`. Where
    a check takes time and memory, `timeout` and `memory` bound them. Raises `UsageError` for an
    unknown name, and for arguments that the check does not take.
    """
    known = _known(name)
    if consistency_model is not None and known not in _ISOLATION:
        raise UsageError(
            f"{known} has no consistency model.",
            do=f"--consistency-model is for {' and '.join(_ISOLATION)}.",
        )
    takes_initial = known in _MODELS or known in ("rw-register", *_WITH_INITIAL)
    if initial is not None and not takes_initial:
        raise UsageError(f"{known} takes no initial value.", do="Leave --initial out.")
    limits: dict[str, Any] = {"timeout": timeout, "memory": memory}
    if known in _MODELS:
        return _linearizable(known, initial, limits)
    if known in _ISOLATION:
        return _isolation(known, consistency_model, initial, limits)
    if known == "set":
        return _Set(_linearizable("linearizable-set", None, limits))
    options: dict[str, Any] = limits if known in _WITH_LIMITS else {}
    if initial is not None:
        options = {**options, "initial": initial}
    made: Check = _factory(known)(**options)
    return made


@dataclass(frozen=True)
class _Set:
    """A set that is only filled and read at the end; where it is used otherwise, `full` judges."""

    full: Check
    name: str = "set"

    def __call__(self, history: History) -> Verdict:
        from harness.check.workloads import set_

        if any(op.f in ("remove", "contains") for op in history.ops):
            return self.full(history)
        return set_()(history)


def _known(name: str) -> str:
    plain = name.strip().lower().replace("_", "-")
    plain = _ALIASES.get(plain, plain)
    for prefix in _PREFIXES:
        plain = plain.removeprefix(prefix)
    plain = _ALIASES.get(plain, plain)
    if plain in NAMES:
        return plain
    near = get_close_matches(plain, [*NAMES, *_ALIASES], n=3)
    raise UsageError(
        f"There is no model {name!r}.",
        why=f"Did you mean {' or '.join(near)}?" if near else None,
        do=f"Models: {', '.join(NAMES)}.",
    )


def _linearizable(known: str, initial: Any, limits: Mapping[str, Any]) -> Check:
    from harness.check.linearizable import linearizable

    return linearizable(known.removeprefix("linearizable-"), initial=initial, **limits)


def _isolation(
    known: str, consistency_model: str | None, initial: Any, limits: Mapping[str, Any]
) -> Check:
    from harness.check import isolation

    options = dict(limits)
    if consistency_model is not None:
        models = tuple(filter(None, map(str.strip, consistency_model.split(","))))
        options["consistency_model"] = models[0] if len(models) == 1 else models
    if initial is not None:
        options["initial"] = initial
    make = isolation.list_append if known == "list-append" else isolation.rw_register
    return make(**options)


def _factory(known: str) -> Any:
    if known in _RUNS:
        from harness import check

        return getattr(check, known)
    if known in _PROMISES:
        from harness.check import promises

        return getattr(promises, known.replace("-", "_"))
    from harness.check import workloads

    return getattr(workloads, known.replace("-", "_"))
