"""What an experiment cannot mean is refused where it stands."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from fixtures.registers import Registers, RegistersClient
from harness import (
    Request,
    experiment,
    faults,
    k6,
    probes,
    registers,
    seconds,
    stop_after,
    stop_when,
)
from harness.declare import experiment_of
from harness.errors import UsageError
from harness.plan import make_plan


def declared(**arguments: Any) -> Any:
    @experiment(target=Registers(), workload=registers(RegistersClient), **arguments)
    def test_it() -> None: ...

    return experiment_of(test_it)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steady_state": [0.05]}, "0.05 in steady_state is no probe"),
        ({"stop": [probes.serving(at_least=2)]}, "in stop is no stop condition"),
        ({"load": "x.js"}, "is no load"),
        ({"load": k6("absent.js")}, "There is no k6 script 'absent.js' in "),
        ({"catches": {"unheard-of": "x"}}, "'unheard-of', which is no mutant of registers"),
    ],
)
def test_what_cannot_be_meant(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        declared(**arguments)


def test_a_final_read_of_what_is_not_there() -> None:
    workload = dataclasses.replace(
        registers(RegistersClient), final=[Request("read", "r1", at="database")]
    )
    with pytest.raises(UsageError, match="read is asked of 'database', which is no node"):
        experiment(target=Registers(), workload=workload)


def test_a_script_is_looked_for_beside_the_test(tmp_path: Path) -> None:
    (tmp_path / "load.js").write_text("export default function () {}")
    code = compile("def test_it(): ...", str(tmp_path / "test_it.py"), "exec")
    names: dict[str, Any] = {}
    exec(code, names)
    marked = experiment(target=Registers(), load=k6("load.js", rate=1))(names["test_it"])
    found = experiment_of(marked)
    assert found is not None and found.load is not None
    assert found.load.path == tmp_path / "load.js"


def test_faults_need_something_that_notices_them() -> None:
    with pytest.raises(UsageError, match="no workload, so nothing could be judged"):
        experiment(target=Registers(), faults=[faults.kill(at=seconds(1))])


def test_hypothesis_and_stop_conditions_stand_in_the_plan() -> None:
    plan = make_plan(
        declared(
            steady_state=[probes.error_rate(at_most=0.05)],
            stop=[
                stop_when(probes.serving(at_least=2), lasting=seconds(3)),
                stop_after(seconds(90)),
            ],
        ),
        "test_it",
        2**40,
    ).to_json()
    assert plan["steady_state"] == [{"probe": "error_rate", "at_least": None, "at_most": 0.05}]
    assert plan["stop"] == [
        {"probe": "serving", "at_least": 2, "at_most": None, "lasting_s": 3.0},
        {"limit_s": 90.0},
    ]
