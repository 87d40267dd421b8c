"""Shrinking: from a plan that failed to the smallest one that still fails the same way.

`shrink` removes faults, ops and time from a plan and carries out what is left, again and again.
What may be tried next is in `passes`, in which order sets are searched in `search`, and whether a
candidate fails often enough in `rate` and `judge`. Nothing here knows how a plan is carried out.
"""

from harness.rate import Rate
from harness.shrink.aloud import sentence
from harness.shrink.hints import Hints
from harness.shrink.judge import Budget
from harness.shrink.shrinking import Shrunk, shrink

__all__ = ["Budget", "Hints", "Rate", "Shrunk", "sentence", "shrink"]
