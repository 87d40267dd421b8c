"""What the live tests share."""

from __future__ import annotations

import pytest

from harness.parts import toxiproxy_binary
from tests.support.projects import prepare


@pytest.fixture(scope="session")
def toxiproxy() -> str:
    """Found before `pytester` moves HOME away, with the cache in it."""
    return str(toxiproxy_binary())


@pytest.fixture
def project(toxiproxy: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A miniature project that finds this checkout."""
    prepare(pytester, monkeypatch, toxiproxy)
