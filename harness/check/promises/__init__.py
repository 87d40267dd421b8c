"""Checks of what services promise: delivery, ownership, limits, schedules, isolation, freshness.

Each function here makes a check, and its docstring says which ops the workload must record.
"""

from harness.check.promises.cron import cron
from harness.check.promises.delivery import delivery
from harness.check.promises.ownership import ownership
from harness.check.promises.projection import projection_lag
from harness.check.promises.rate_limit import rate_limit
from harness.check.promises.tenants import tenant_isolation

__all__ = [
    "cron",
    "delivery",
    "ownership",
    "projection_lag",
    "rate_limit",
    "tenant_isolation",
]
