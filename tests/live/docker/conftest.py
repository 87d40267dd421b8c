"""What the live tests of the docker runtime share. Without an engine they are skipped."""

from __future__ import annotations

import pytest

from harness.runtime.docker.engine import Engine
from tests.support.containers import engine_or_skip


@pytest.fixture(scope="session")
def engine() -> Engine:
    return engine_or_skip()
