"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

# How long an example takes depends on what else the machine does; the suite has budgets elsewhere.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
