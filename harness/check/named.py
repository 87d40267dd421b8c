"""The checks by name, for the command line: `harness check FILE --model NAME`.

What a check judges is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from inspect import Parameter, Signature, signature
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
    "rate-limit": "no window holds more than `limit` admissions (--with limit=N per=S)",
    "cron": "every job runs once in each window (--with every=S jitter=S)",
    "projection-lag": "commands are visible in time (--with within=S)",
}
_RUNS: Final[Mapping[str, str]] = {
    "available": "60 % of the ops were answered",
    "converged": "all nodes give the same final answers within 5 s",
    "idempotent": "every charge has one effect in the ledger",
    "slo": "latency and errors of one op are within bounds (--with 'route=\"read\"' p99=S)",
}
NAMES: Final[Mapping[str, str]] = {**_MODELS, **_ISOLATION, **_WORKLOADS, **_PROMISES, **_RUNS}
"""Every name, with what the check demands."""

_ALIASES: Final[Mapping[str, str]] = {
    "append": "list-append",
    "bag": "unordered-queue",
    "multiset": "unordered-queue",
    "knossos-set": "linearizable-set",
    "porcupine-kv": "kv",
    "wr-register": "rw-register",
}
_PREFIXES = ("elle-", "jepsen-", "knossos-")


def check_named(
    name: str,
    *,
    consistency_model: str | None = None,
    initial: Any = None,
    options: Mapping[str, Any] | None = None,
    timeout: Duration = 30,
    memory: int | None = None,
) -> Check:
    """The check of that name, one of `NAMES`; spellings of Jepsen, Knossos and Elle are known as
    well (`knossos-mutex`, `elle-list-append`, `append`).

    `consistency_model` (one, or several with commas) is for `list-append` and `rw-register`;
    `initial`, a JSON value, for the linearizable ones, `rw-register`, `counter` and `causal`;
    `options` holds any other arguments of the function that makes the check. Where a check takes
    time and memory, `timeout` and `memory` bound them. Raises `UsageError` for an unknown name,
    and for arguments that the check does not take or lacks.
    """
    known = _known(name)
    given = dict(options or {})
    if consistency_model is not None:
        if known not in _ISOLATION:
            raise UsageError(
                f"{known} has no consistency model.",
                do=f"--consistency-model is for {' and '.join(_ISOLATION)}.",
            )
        models = tuple(filter(None, map(str.strip, consistency_model.split(","))))
        given["consistency_model"] = models[0] if len(models) == 1 else models
    limits: dict[str, Any] = {"timeout": timeout, "memory": memory}
    if known == "set":
        return _Set(linearizable=_linearizable("linearizable-set", given, initial, limits))
    if known in _MODELS:
        return _linearizable(known, given, initial, limits)
    return _made(known, _factory(known), given, initial, limits)


@dataclass(frozen=True)
class _Set:
    """A set that is only filled and read at the end; where it is used otherwise,
    `linearizable` judges."""

    linearizable: Check
    name: str = "set"

    def __call__(self, history: History) -> Verdict:
        from harness.check.workloads import set_

        if any(op.f in ("remove", "contains") for op in history.ops):
            return self.linearizable(history)
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


def _linearizable(
    known: str, given: Mapping[str, Any], initial: Any, limits: Mapping[str, Any]
) -> Check:
    from harness.check.linearizable import linearizable

    def make(**options: Any) -> Check:
        return linearizable(known.removeprefix("linearizable-"), **options)

    make.__signature__ = _without_model(linearizable)  # type: ignore[attr-defined]
    return _made(known, make, given, initial, limits)


def _made(
    known: str,
    make: Callable[..., Check],
    given: Mapping[str, Any],
    initial: Any,
    limits: Mapping[str, Any],
) -> Check:
    """What `make` makes of the arguments that it knows."""
    parameters = signature(make).parameters
    options = {name: value for name, value in limits.items() if name in parameters}
    if initial is not None:
        if "initial" not in parameters:
            raise UsageError(f"{known} takes no initial value.", do="Leave --initial out.")
        options["initial"] = initial
    takes = [name for name in parameters if name not in ("timeout", "memory", "initial")]
    for name, value in given.items():
        if name not in takes:
            raise UsageError(
                f"{known} takes no {name!r}.",
                do=f"It takes {', '.join(takes)}." if takes else "It takes nothing.",
            )
        options[name] = _fitting(name, value, parameters[name])
    lacking = [
        name
        for name, parameter in parameters.items()
        if parameter.default is Parameter.empty and name not in options
    ]
    if lacking:
        raise UsageError(
            f"{known} needs {' and '.join(lacking)}.",
            do=f"--with {' '.join(f'{name}=…' for name in lacking)}",
        )
    return make(**options)


def _fitting(name: str, value: Any, parameter: Parameter) -> Any:
    """The value, unless it is plainly of another kind than the parameter."""
    if isinstance(parameter.default, bool) and not isinstance(value, bool):
        raise UsageError(f"{name} is true or false, not {value!r}.")
    takes = str(parameter.annotation)
    numeric = any(word in takes for word in ("Duration", "float", "int")) and "str" not in takes
    if numeric and isinstance(value, str):
        raise UsageError(f"{name} is a number, not {value!r}.", do=f"--with {name}=1")
    return value


def _without_model(function: Callable[..., Any]) -> Signature:
    told = signature(function)
    return told.replace(parameters=[one for one in told.parameters.values() if one.name != "model"])


def _factory(known: str) -> Any:
    if known in _ISOLATION:
        from harness.check import isolation

        return getattr(isolation, known.replace("-", "_"))
    if known in _RUNS:
        from harness import check

        return getattr(check, known)
    if known in _PROMISES:
        from harness.check import promises

        return getattr(promises, known.replace("-", "_"))
    from harness.check import workloads

    return getattr(workloads, known.replace("-", "_"))
