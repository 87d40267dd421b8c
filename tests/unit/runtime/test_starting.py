"""What is run once has started when it has ended well."""

from __future__ import annotations

import asyncio

import pytest

from harness.errors import BrokenError
from harness.runtime import starting
from harness.runtime.spec import NodeSpec


class Runtime:
    """Nodes that end at once with `status`, or never, if it is None."""

    def __init__(self, status: int | None) -> None:
        self.status = status
        self.ended: list[str] = []

    async def spawn(self, spec: NodeSpec) -> None: ...

    async def wait_ready(self, spec: NodeSpec) -> None:
        raise AssertionError("what is run once is never ready")

    async def wait_exit(self, name: str) -> int | None:
        if self.status is None:
            await asyncio.Event().wait()
        return self.status

    def log_tail(self, name: str, lines: int = 20) -> str:
        return f"what {name} wrote"

    def end_now(self, name: str) -> None:
        self.ended.append(name)


async def never() -> bool:
    raise AssertionError


SPEC = NodeSpec("migrate", ["x"], {}, never, ready_timeout_s=0.02, once=True)


def start(status: int | None) -> Runtime:
    runtime = Runtime(status)
    asyncio.run(starting.start_all(runtime, [SPEC], None))
    return runtime


def test_one_that_ends_well() -> None:
    assert start(0).ended == []


@pytest.mark.parametrize(
    ("status", "said"),
    [(3, "failed: exit status 3"), (-9, "SIGKILL"), (None, r"has not ended within 0\.02 s")],
)
def test_one_that_does_not(status: int | None, said: str) -> None:
    with pytest.raises(BrokenError, match=said) as caught:
        start(status)
    assert "what migrate wrote" in str(caught.value)
