"""Rate limiters with one contract, `Limiter`: of one node, and of all nodes in two modes.

`strict` never admits more than the limit, and refuses where it cannot know. `approximate` answers
everywhere, and may exceed the limit by an `error_bound` that it states.
"""

from .approximate import ApproximateLimiter
from .contract import SCHEMA, Decision, Limiter, Reason
from .division import error_bound, unsettled_s
from .local import LocalLimiter
from .strict import StrictLimiter

__all__ = [
    "SCHEMA",
    "ApproximateLimiter",
    "Decision",
    "Limiter",
    "LocalLimiter",
    "Reason",
    "StrictLimiter",
    "error_bound",
    "unsettled_s",
]
