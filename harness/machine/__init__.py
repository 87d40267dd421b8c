"""State machines over a live cluster: Hypothesis draws what clients do and which faults come.

    from harness.machine import ClusterMachine

A `ClusterMachine` is a `RuleBasedStateMachine` of Hypothesis (the optional dependency of this
package and of `harness.strategies`; nothing else imports it). See docs/hypothesis.md.
"""

from __future__ import annotations

from harness.errors import MissingPartError

try:
    import hypothesis  # noqa: F401  looked for
except ModuleNotFoundError:
    raise MissingPartError(
        "State machines need Hypothesis, which is not installed here.",
        do="pip install hypothesis",
    ) from None

from harness.machine.machine import ClusterMachine
from harness.workload import SEEN

__all__ = ["SEEN", "ClusterMachine"]
