"""What jobs promises beyond what every service does, one check a module.

All read what the database held at the end (the final ops of the workload), beside what clients were
told and what the nodes said of themselves.
"""

from targets.jobs.checks.audit import audit_complete
from targets.jobs.checks.deployments import deployments
from targets.jobs.checks.drain import drain
from targets.jobs.checks.letters import dead_letters
from targets.jobs.checks.limits import limits
from targets.jobs.checks.takeovers import taken_over
from targets.jobs.checks.unique import unique
from targets.jobs.checks.windows import cron_windows

__all__ = [
    "audit_complete",
    "cron_windows",
    "dead_letters",
    "deployments",
    "drain",
    "limits",
    "taken_over",
    "unique",
]
