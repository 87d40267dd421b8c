"""Checks: pure functions from a history to a verdict, which need no cluster and no pytest.

    verdict = linearizable("cas-register")(History.read(Path("history.jsonl")))

What each answers:

- `linearizable`, `converged`, `idempotent`, `drained`: was every operation carried out rightly?
- `available`, `slo`, `bulkhead`: were they answered, and in time?
- `breaker`, `retries_bounded`, `bounded`: did the target protect itself and others?

`models` holds the registers and what it takes to describe another kind of object. A verdict is
`valid`, `invalid` with evidence, or `unknown`; every check is bounded in time and memory.
"""

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

__all__ = [
    "Check",
    "Model",
    "Verdict",
    "available",
    "bounded",
    "breaker",
    "bulkhead",
    "converged",
    "drained",
    "idempotent",
    "linearizable",
    "models",
    "retries_bounded",
    "slo",
]
