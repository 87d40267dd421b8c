"""What the README shows is what happens: its examples are run as they stand there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

pytest_plugins = "pytester"
pytestmark = [pytest.mark.live, pytest.mark.usefixtures("project")]

ROOT = Path(__file__).parents[2]
EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def example(beginning: str) -> str:
    (found,) = [example for example in EXAMPLES if beginning in example]
    return found


def test_the_first_experiment(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(example('"""A leader that is cut off'))
    result = pytester.runpytest_subprocess("--chaos-scale", "0.5", timeout=120)
    result.assert_outcomes(passed=1)


def test_the_chaos_experiment(pytester: pytest.Pytester) -> None:
    shutil.copy(ROOT / "experiments" / "payments.js", pytester.path)
    pytester.makepyfile(example("def test_slow_provider"))
    pytester.runpytest_subprocess(timeout=120).assert_outcomes(passed=1)


def test_a_server_of_ones_own_in_one_file(pytester: pytest.Pytester) -> None:
    pytest.importorskip("redis")
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    source = example("class Redis(Target)")
    assert len(source.splitlines()) < 60
    pytester.makepyfile(test_redis=source)
    result = pytester.runpytest_subprocess(timeout=120)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "failed: 1 of 2 checks: linearizable(register)",
            "linearizable(register): invalid (expected valid)*",
            "available(at_least=0.5): valid (as expected)*",
            "*f1 netsplit isolate node-3 on node-3*ops unanswered*",
        ]
    )


def test_step_by_step(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(example("def test_the_majority_goes_on"))
    pytester.runpytest_subprocess(timeout=120).assert_outcomes(passed=1)
