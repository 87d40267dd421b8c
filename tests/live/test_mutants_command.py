"""`harness mutants` as its users meet it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.projects import SOUND, runs_of

pytest_plugins = "pytester"
pytestmark = pytest.mark.live


@pytest.fixture(autouse=True)
def experiments(project: None, pytester: pytest.Pytester) -> None:
    # One that is found, and one that this experiment cannot find, for nobody restarts anything.
    catches = 'catches={"stale-reads": "linearizable", "forgets-on-restart": "linearizable"}'
    pytester.makepyfile(test_it=SOUND.replace("before=", f"{catches}, before="))


def mutants(pytester: pytest.Pytester, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", "mutants", "fixtures.registers:Registers"]
    command += [*arguments, "--experiments", "test_it.py"]
    return subprocess.run(command, cwd=pytester.path, capture_output=True, text=True, timeout=120)


def test_the_matrix_says_what_is_caught_and_what_is_missed(pytester: pytest.Pytester) -> None:
    chosen = ["--mutant", "stale-reads", "--mutant", "forgets-on-restart", "--jobs", "2"]
    told = mutants(pytester, *chosen)
    lines = [line.split() for line in told.stdout.splitlines()]
    assert ["sound", "·"] in lines, told
    assert ["stale-reads", "●"] in lines
    assert ["forgets-on-restart", "MISSED"] in lines
    assert told.returncode == 1
    # Only the run that went wrong is kept, to be looked at and repeated.
    (kept,) = runs_of(pytester)
    assert kept["mutant"] == "forgets-on-restart"
    assert f"harness replay runs/{kept['path'].name}" in told.stdout


def test_a_project_without_any_ini_file(pytester: pytest.Pytester) -> None:
    (pytester.path / "tox.ini").unlink()
    told = mutants(pytester, "--mutant", "stale-reads", "--only-expected")
    assert told.returncode == 0, told


def test_the_list_needs_no_cluster(pytester: pytest.Pytester) -> None:
    told = mutants(pytester, "--list")
    assert told.returncode == 0, told
    assert told.stdout.splitlines() == [
        "stale-reads: Followers answer from a copy that lags.",
        "    caught by test_sound (linearizable)",
        "forgets-on-restart: The log is not read at the start.",
        "    caught by test_sound (linearizable)",
        "acknowledges-early: A follower says done before the leader was asked.",
        "    caught by no experiment",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--mutant", "unheard-of"), "registers has no mutant 'unheard-of'."),
        (("--experiments", "absent.py"), "The experiments cannot be collected."),
    ],
)
def test_wrong_use_is_one_message(
    pytester: pytest.Pytester, arguments: tuple[str, ...], message: str
) -> None:
    command = [sys.executable, "-m", "harness", "mutants", "fixtures.registers:Registers"]
    experiments = () if "--experiments" in arguments else ("--experiments", "test_it.py")
    told = subprocess.run(
        [*command, *arguments, *experiments],
        cwd=pytester.path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert told.returncode == 3
    assert message in told.stderr and "Traceback" not in told.stderr
