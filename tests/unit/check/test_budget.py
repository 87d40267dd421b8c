"""A budget knows when it is spent, and what is not over a limit goes on."""

from __future__ import annotations

import time
from types import SimpleNamespace

import psutil
import pytest

from harness.check import budget as module
from harness.check.budget import Budget, OverBudgetError, limits
from harness.errors import UsageError
from harness.units import seconds

MIB = 2**20


class Machine:
    """A clock and a memory that tests set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.rss = 100.0, 500 * MIB
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(module, "_process", lambda _pid: self)

    def memory_info(self) -> SimpleNamespace:
        return SimpleNamespace(rss=self.rss)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_a_part_of_the_time_is_kept_for_the_end(machine: Machine) -> None:
    budget = Budget(10, MIB)
    machine.now = 109.1
    assert budget.exceeded() is None
    machine.now = 109.3
    assert budget.exceeded() == "time"
    assert budget.spent_s == pytest.approx(9.3)
    assert budget.told("time") == "10 s (timeout=)"


def test_memory_is_what_the_process_grows_by(machine: Machine) -> None:
    budget = Budget(10, 3 * MIB)
    machine.rss += 3 * MIB
    machine.now += 0.01
    assert budget.exceeded() is None
    machine.rss += 1
    assert budget.exceeded() is None  # (it has only just looked)
    machine.now += 0.01
    assert budget.exceeded() == "memory"
    machine.now += 0.01
    with pytest.raises(OverBudgetError) as raised:
        budget.demand()
    assert raised.value.limit == "memory"
    assert budget.told("memory") == "3 MiB (memory=)"


def test_a_step_that_needs_more_than_there_is_is_not_begun(machine: Machine) -> None:
    budget = Budget(10, 3 * MIB)
    machine.rss += MIB
    budget.reserve(2 * MIB)
    with pytest.raises(OverBudgetError) as raised:
        budget.reserve(2 * MIB + 1)
    assert raised.value.limit == "memory"
    machine.now += 10
    with pytest.raises(OverBudgetError) as raised:
        budget.reserve(0)
    assert raised.value.limit == "time"


def test_little_work_is_no_reason_to_look(machine: Machine) -> None:
    budget = Budget(10, MIB)
    machine.now += 20
    for _ in range(4096):
        budget.worked(1)
    with pytest.raises(OverBudgetError):
        budget.worked(1)
    budget.worked(4096)
    with pytest.raises(OverBudgetError):
        budget.worked(1)


def test_the_real_clock_and_memory_are_read() -> None:
    budget = Budget(3600, 2**50)
    assert budget.exceeded() is None
    assert budget.began <= time.monotonic() < budget.deadline
    assert Budget(0, 2**50).exceeded() == "time"
    grown = Budget(3600, -psutil.Process().memory_info().rss)
    while time.monotonic() < grown.began + 0.01:
        pass
    assert grown.exceeded() == "memory"


def test_limits_are_what_people_give_or_half_of_what_is_free() -> None:
    assert limits(seconds(2), 5) == (2.0, 5)
    assert 0 < limits(1, None)[1] < psutil.virtual_memory().total
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(UsageError, match="number of bytes"):
            limits(1, wrong)  # type: ignore[arg-type]
