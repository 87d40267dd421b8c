"""The load as an experiment declares it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.load import k6
from harness.units import milliseconds


def test_a_script_is_found_beside_the_experiment(tmp_path: Path) -> None:
    (tmp_path / "pay.js").write_text("export default function () {}")
    load = k6("pay.js", rate=40, warmup=milliseconds(500), env={"USERS": 3}).beside(tmp_path)
    assert load.path == tmp_path / "pay.js"
    assert load.to_json() == {
        "script": "pay.js",
        "sha256": "f404f7ff29ba5d1a0c4854c35342bbf560151e1f3b070c8df3fe74e62237d1f3",
        "rate": 40,
        "warmup_s": 0.5,
        "env": {"USERS": "3"},
    }


def test_a_script_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no k6 script 'pay\.js'"):
        k6("pay.js").beside(tmp_path)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_cannot_be_is_refused(rate: float) -> None:
    with pytest.raises(UsageError, match="iterations per second"):
        k6("pay.js", rate=rate)


@pytest.mark.parametrize("name", ["HARNESS_SEED", "A-B", "", "1A"])
def test_a_variable_that_k6_or_the_harness_refuses_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot set the variable"):
        k6("pay.js", env={name: "1"})


def test_no_script_is_refused() -> None:
    with pytest.raises(UsageError, match="names no script"):
        k6("")
