"""The parts of the plugin that need no cluster."""

from __future__ import annotations

import pytest

from harness.errors import BrokenError, HarnessError, UsageError
from harness.plugin import experiment_id
from harness.reporting import harness_error


@pytest.mark.parametrize(
    ("nodeid", "expected"),
    [
        ("a.py::test_x", "a.py::test_x"),
        ("a.py::test_x[seed1]", "a.py::test_x"),
        ("a.py::test_x[fast-seed12]", "a.py::test_x[fast]"),
        ("a.py::test_x[seed3-fast]", "a.py::test_x[fast]"),
        ("a.py::test_x[seedling]", "a.py::test_x[seedling]"),
    ],
)
def test_the_number_of_a_seed_is_no_part_of_an_experiments_id(nodeid: str, expected: str) -> None:
    assert experiment_id(nodeid) == expected


def test_the_cause_of_an_error_is_found() -> None:
    ours = UsageError("wrong")
    wrapped = RuntimeError("something")
    wrapped.__cause__ = ours
    assert harness_error(ours) is ours
    assert harness_error(wrapped) is ours
    assert harness_error(RuntimeError("alone")) is None


def test_an_error_says_what_why_and_what_to_do() -> None:
    error = BrokenError("It broke.", why="No disk.", do="Buy one.")
    assert str(error) == "It broke.\nWhy: No disk.\nDo: Buy one."
    assert str(HarnessError("It broke.")) == "It broke."


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--chaos-seed=-1", "--chaos-seed must be a whole number of at least 0, not '-1'"),
        ("--chaos-seeds=0", "--chaos-seeds must be a whole number of at least 1"),
        ("--chaos-scale=fast", "--chaos-scale must be a number"),
        ("--chaos-scale=nan", "--chaos-scale must be a number"),
        ("--chaos-runtime=moon", "invalid choice: 'moon'"),
        ("--chaos-replay=nowhere", "is not the folder of a run"),
    ],
)
def test_a_wrong_option_is_one_message(
    pytester: pytest.Pytester, option: str, message: str
) -> None:
    pytester.makepyfile("def test_nothing(): pass")
    result = pytester.runpytest_inprocess(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = result.stdout.str() + result.stderr.str()
    assert message in text and "Traceback" not in text


def test_the_plugin_imports_nothing_of_the_engine_by_itself(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_light():
            heavy = {"asyncio", "harness.engine", "harness.network", "toxiproxy", "requests"}
            assert not heavy & {name for name in sys.modules if name in heavy}
        """
    )
    pytester.runpytest_subprocess("-p", "no:xdist", timeout=60).assert_outcomes(passed=1)


pytest_plugins = "pytester"
