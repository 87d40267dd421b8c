"""The experiments that ship: each one can fail, and each mutant is caught by one."""

from __future__ import annotations

from types import ModuleType

import pytest

from experiments import (
    test_chat,
    test_cluster,
    test_etcd,
    test_jobs,
    test_payments,
    test_redis,
)
from harness.declare import Experiment, experiment_of

ABOUT_A_FLAW = {
    "test_serializable_reads_are_stale",
    "test_acknowledged_adds_are_lost",
    "test_acknowledged_adds_are_lost_amid_other_faults",
}
"""They pass only while the flaw is found."""


MODULES = [test_chat, test_cluster, test_etcd, test_jobs, test_payments, test_redis]


def experiments(module: ModuleType) -> dict[str, Experiment]:
    found = {name: experiment_of(function) for name, function in vars(module).items()}
    return {name: one for name, one in found.items() if one is not None}


@pytest.mark.parametrize("module", MODULES)
def test_every_experiment_catches_a_mutant(module: ModuleType) -> None:
    without = {name for name, one in experiments(module).items() if not one.catches}
    assert without <= ABOUT_A_FLAW


@pytest.mark.parametrize("module", MODULES)
def test_every_mutant_is_caught_by_an_experiment(module: ModuleType) -> None:
    declared = list(experiments(module).values())
    caught = {mutant for one in declared for mutant in one.catches}
    assert caught == set(declared[0].target.mutants)
