"""Checks: pure functions from a history to a verdict, which need no cluster and no pytest.

    verdict = linearizable("cas-register")(History.read(Path("history.jsonl")))

`linearizable`, `available` and `converged` make checks; `models` holds the registers and what it
takes to describe another kind of object. A verdict is `valid`, `invalid` with evidence, or
`unknown`; every check is bounded in time and memory.
"""

from harness.check import models
from harness.check.available import available
from harness.check.converged import converged
from harness.check.linearizable import linearizable
from harness.check.models import Model
from harness.check.verdict import Check, Verdict

__all__ = ["Check", "Model", "Verdict", "available", "converged", "linearizable", "models"]
