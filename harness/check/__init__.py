"""Checks: pure functions from a history to a verdict, which need no cluster and no pytest.

    verdict = linearizable("cas-register")(History.read(Path("history.jsonl")))

What each answers:

- `linearizable`, `converged`, `idempotent`, `drained`: was every operation carried out rightly?
- `list_append`, `rw_register`: how well were transactions isolated from each other?
- `available`, `slo`, `bulkhead`: were they answered, and in time?
- `breaker`, `retries_bounded`, `bounded`: did the target protect itself and others?
- `bank`, `counter`, `set_full` … (`harness.check.workloads`): Jepsen's checks of its workloads.
- `delivery`, `ownership`, `rate_limit` … (`harness.check.promises`): what services promise.

`models` holds the objects that `linearizable` knows, and what it takes to describe another one.
A verdict is `valid`, `invalid` with evidence, or `unknown`; checks are bounded in time and memory.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from harness.check import models
from harness.check.available import available
from harness.check.bounded import bounded
from harness.check.breaker import breaker
from harness.check.bulkhead import bulkhead
from harness.check.converged import converged
from harness.check.drained import drained
from harness.check.idempotent import idempotent
from harness.check.linearizable import linearizable
from harness.check.models import Model
from harness.check.retries import retries_bounded
from harness.check.slo import slo
from harness.check.verdict import Check, Verdict

if TYPE_CHECKING:
    from harness.check.isolation import list_append, rw_register
    from harness.check.promises import (
        cron,
        delivery,
        ownership,
        projection_lag,
        rate_limit,
        tenant_isolation,
    )
    from harness.check.workloads import (
        bank,
        causal,
        comments,
        counter,
        long_fork,
        monotonic_reads,
        monotonic_writes,
        queue,
        read_your_writes,
        sequential,
        set_,
        set_full,
        total_queue,
        unique_ids,
        writes_follow_reads,
    )

__all__ = [
    "Check",
    "Model",
    "Verdict",
    "available",
    "bank",
    "bounded",
    "breaker",
    "bulkhead",
    "causal",
    "comments",
    "converged",
    "counter",
    "cron",
    "delivery",
    "drained",
    "idempotent",
    "linearizable",
    "list_append",
    "long_fork",
    "models",
    "monotonic_reads",
    "monotonic_writes",
    "ownership",
    "projection_lag",
    "queue",
    "rate_limit",
    "read_your_writes",
    "retries_bounded",
    "rw_register",
    "sequential",
    "set_",
    "set_full",
    "slo",
    "tenant_isolation",
    "total_queue",
    "unique_ids",
    "writes_follow_reads",
]

# Imported by who asks for one of theirs: most experiments need none, and pytest should start fast.
_LATER: Final = ("isolation", "promises", "workloads")


def __getattr__(name: str) -> Any:
    if name in __all__:
        for package in _LATER:
            found = getattr(import_module(f"{__name__}.{package}"), name, None)
            if found is not None:
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
