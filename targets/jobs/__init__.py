"""A job service on PostgreSQL: two web nodes, workers, and a gate that switches between the two.

Jobs with keys, retries, limits and a cron leader; accounts that are deleted softly; an audit log
that nobody can change. README.md says what it promises.
"""

from targets.jobs.client import JobsClient
from targets.jobs.model import AccountModel
from targets.jobs.target import Jobs
from targets.jobs.workload import busy_workload, jobs_workload

__all__ = ["AccountModel", "Jobs", "JobsClient", "busy_workload", "jobs_workload"]
