"""The `harness` command: what it prints, and the exit codes that scripts rely on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from harness import doctor
from harness.check.linearizable import Linearizable
from harness.cli import main
from harness.doctor import Row
from harness.record.folder import RunFolder
from harness.runtime import ledger
from harness.runtime.docker import leftovers
from harness.runtime.ledger import LeftOver
from harness.runtime.proc import Process
from harness.target import Target

Output = pytest.CaptureFixture[str]


def record(index: int, type: str, f: str, value: Any, process: int = 0) -> str:
    line = {"index": index, "time": index * 1000, "process": process, "type": type, "f": f}
    return json.dumps({**line, "key": "x", "value": value}) + "\n"


WRITE = record(0, "invoke", "write", 1) + record(1, "ok", "write", 1)
VALID = WRITE + record(2, "invoke", "read", None) + record(3, "ok", "read", 1)
INVALID = WRITE + record(2, "invoke", "read", None) + record(3, "ok", "read", 2)
UNKNOWN = record(0, "invoke", "write", 1) + record(1, "info", "write", 1)


@pytest.mark.parametrize(
    ("history", "code", "word"),
    [(VALID, 0, "valid"), (INVALID, 1, "invalid"), (UNKNOWN, 2, "unknown")],
)
def test_check_tells_the_verdict_by_word_and_exit_code(
    history: str, code: int, word: str, tmp_path: Path, capsys: Output
) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text(history)
    command = ["check", str(path), "--model", "cas-register", "--timeout", "5"]
    assert main(command) == code
    assert capsys.readouterr().out.startswith(f"linearizable(cas-register): {word}. ")
    assert main([*command, "--json"]) == code
    printed = json.loads(capsys.readouterr().out)
    assert printed["valid"] == {"valid": True, "invalid": False, "unknown": "unknown"}[word]
    assert printed["anomalies"] == (["nonlinearizable"] if code == 1 else [])
    assert printed["not"] == [] and printed["ops"] >= 1 and printed["seconds"] >= 0
    assert bool(printed["evidence"]["text"]) == (code == 1)


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        ("no json\n", ["--model", "register"], "history.jsonl:1: this line is no record"),
        (None, ["--model", "register"], "cannot be read"),
        ("", ["--model", "register"], "holds no ops"),
        (VALID, ["--model", "cas-registr"], "Did you mean cas-register"),
        (VALID, ["--model", "register", "--format", "xml"], "There is no format 'xml'"),
        (VALID, ["--model", "register", "--initial", "{"], "--initial '{' is no JSON"),
        (VALID, ["--model", "counter", "--consistency-model", "x"], "has no consistency model"),
        (VALID, ["--model", "list-append", "--consistency-model", "x"], "consistency_model 'x'"),
        (VALID, ["--model", "register", "--timeout", "-1"], "timeout must be more than zero"),
        (VALID, ["--model", "register", "--timeout", "soon"], "invalid float value: 'soon'"),
        (VALID, [], "needs a history and a model"),
    ],
)
def test_wrong_use_and_unreadable_input_exit_with_3(
    text: str | None, arguments: list[str], said: str, tmp_path: Path, capsys: Output
) -> None:
    path = tmp_path / "history.jsonl"
    if text is not None:
        path.write_text(text)
    assert main(["check", str(path), *arguments]) == 3
    printed = capsys.readouterr()
    assert said in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""


def test_check_alone_lists_the_models(capsys: Output) -> None:
    assert main(["check"]) == 0
    printed = capsys.readouterr().out
    assert all(f"\n{name} " in f"\n{printed}" for name in ("register", "list-append", "bank"))


def test_a_model_of_ones_own_is_named_by_module_and_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    (tmp_path / "accounts_model.py").write_text(
        "from harness.check.models import INCONSISTENT\n"
        "class Account:\n"
        "    initial = 0\n"
        "    def step(self, state, op):\n"
        "        if op.f == 'read':\n"
        "            return state if op.result == state else INCONSISTENT\n"
        "        return state + op.value\n"
    )
    path = tmp_path / "history.jsonl"
    monkeypatch.chdir(tmp_path)
    command = ["check", str(path), "--model", "accounts_model:Account"]
    path.write_text(WRITE + record(2, "invoke", "write", 2) + record(3, "ok", "write", 2))
    assert main(command) == 0
    path.write_text(INVALID)
    assert main(command) == 1
    assert "linearizable(account): invalid." in capsys.readouterr().out
    for wrong in ("accounts_model:Bank", "nothing_here:Account", "json:loads", "json:__name__"):
        assert main([*command[:3], wrong]) == 3
    assert main([*command, "--with", "a=1"]) == 3
    assert main([*command, "--initial", "1"]) == 3
    assert "Traceback" not in capsys.readouterr().err


def test_a_model_of_ones_own_that_fails_is_wrong_use_and_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    (tmp_path / "failing_models.py").write_text(
        "from harness.check.models import UnfitOpError\n"
        "class Typo:\n"
        "    initial = 0\n"
        "    def step(self, state, op):\n"
        "        return op.valeu\n"
        "class Forgotten:\n"
        "    initial = 0\n"
        "    def step(self, state, op):\n"
        "        if op.f == 'cas': return state\n"
        "class Unfit:\n"
        "    initial = 0\n"
        "    def step(self, state, op):\n"
        "        raise UnfitOpError(op.f)\n"
    )
    path = tmp_path / "history.jsonl"
    path.write_text(VALID)
    monkeypatch.chdir(tmp_path)
    assert main(["check", str(path), "--model", "failing_models:Typo"]) == 3
    said = capsys.readouterr().err
    assert "The model typo failed at write 1 in the state 0." in said
    assert "'valeu' (" in said and "failing_models.py:5)" in said
    assert main(["check", str(path), "--model", "failing_models:Forgotten"]) == 3
    assert "forgotten.step returned None for write 1" in capsys.readouterr().err
    assert main(["check", str(path), "--model", "failing_models:Unfit"]) == 2
    assert "does not fit" in capsys.readouterr().out


def test_an_error_of_ours_does_not_look_like_a_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text(VALID)

    for error, code in ((RuntimeError("ours"), 4), (MemoryError(), 2)):

        def fail(*_: Any, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(Linearizable, "__call__", fail)
        assert main(["check", str(path), "--model", "register"]) == code
    assert "no more memory" in capsys.readouterr().out


def test_options_of_the_check_and_the_file_may_come_in_any_order(
    tmp_path: Path, capsys: Output
) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text(VALID)
    common = ["check", "--model", "cas-register", "--memory", "1.5G", "--with", "mismatches=false"]
    assert main([*common, str(path)]) == 0
    assert main([*common, "mismatches"]) == 3
    for wrong in (["--with", "mismatches=no"], ["--with", "mismatches"], ["--memory", "much"]):
        assert main(["check", str(path), "--model", "cas-register", *wrong]) == 3
    assert "mismatches is true or false, not 'no'" in capsys.readouterr().err


def test_the_initial_value_counts(tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text(record(0, "invoke", "read", None) + record(1, "ok", "read", 7))
    command = ["check", str(path), "--model", "register"]
    assert main(command) == 1
    assert main([*command, "--initial", "7"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize("argv", [[], ["bogus"], ["runs", "--bogus"]])
def test_an_unknown_command_exits_with_3(argv: list[str], capsys: Output) -> None:
    assert main(argv) == 3
    assert "Do: harness" in capsys.readouterr().err


def test_help_names_every_command(capsys: Output) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["--help"])
    assert raised.value.code == 0
    printed = capsys.readouterr().out
    assert all(command in printed for command in ("doctor", "check", "runs", "cleanup"))


@pytest.mark.parametrize(("blocks", "code"), [(False, 0), (True, 4)])
def test_doctor_exits_with_4_if_nothing_can_run(
    blocks: bool, code: int, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    asked = []

    def examine(*, fetch: bool) -> list[Row]:
        asked.append(fetch)
        return [Row("Toxiproxy", "missing", get="Install it.", blocks=blocks)]

    monkeypatch.setattr(doctor, "examine", examine)
    assert main(["doctor"]) == code
    assert "Install it." in capsys.readouterr().out
    assert main(["doctor", "--fetch", "--json"]) == code
    assert json.loads(capsys.readouterr().out)["works"] is not blocks
    assert asked == [False, True]


def test_runs_lists_them_oldest_first_and_names_damaged_ones(
    tmp_path: Path, capsys: Output
) -> None:
    def run(name: str, **identity: object) -> None:
        folder = RunFolder(tmp_path / name)
        folder.path.mkdir()
        folder.write_identity(identity)

    run(
        "2-b",
        experiment="test_b",
        seed=8,
        outcome="passed",
        started="2026-01-02T03:04:05Z",
        duration_s=20.04,
    )
    run("1-a", experiment="test_a", seed=7)
    run("3-c", experiment="test_c")
    (tmp_path / "4-d").mkdir()
    (tmp_path / "notes.txt").touch()
    assert main(["runs", "--runs-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        f"unfinished           {tmp_path}/1-a",
        f"passed       20.0 s  {tmp_path}/2-b",
    ]
    assert lines[2].startswith("damaged") and f"{tmp_path}/3-c" in lines[2]
    assert lines[3].startswith("damaged") and f"{tmp_path}/4-d" in lines[3]
    assert len(lines) == 4


def test_no_runs_at_all(tmp_path: Path, capsys: Output) -> None:
    assert main(["runs", "--runs-dir", str(tmp_path / "none")]) == 0
    assert capsys.readouterr().out == f"There are no runs in {tmp_path}/none.\n"
    (tmp_path / "file").touch()
    assert main(["runs", "--runs-dir", str(tmp_path / "file")]) == 3


LEFT = LeftOver("cluster-1", Path("/tmp/1"), 17, "run-1", False, (Process(20, 5), Process(21, 5)))
KEPT = LeftOver("cluster-2", Path("/tmp/2"), 18, "run-2", True, ())


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on the engine of this machine is no business of these tests."""
    monkeypatch.setattr(leftovers, "look", leftovers.OnEngine)


def test_cleanup_removes_what_is_left_over(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    undone: list[LeftOver] = []

    def undo(left_over: LeftOver) -> set[Process]:
        undone.append(left_over)
        return set()

    monkeypatch.setattr(ledger, "find_left_over", lambda: [LEFT, KEPT])
    monkeypatch.setattr(ledger, "undo", undo)
    assert main(["cleanup", "--dry-run"]) == 0
    assert undone == []
    assert capsys.readouterr().out == (
        "would remove cluster-1 at /tmp/1 (its harness is gone, 2 processes)\n"
        "would remove cluster-2 at /tmp/2 (kept on purpose, 0 processes)\n"
    )
    assert main(["cleanup"]) == 0
    assert undone == [LEFT, KEPT]
    assert capsys.readouterr().out.startswith("removed cluster-1 at /tmp/1")
    monkeypatch.setattr(ledger, "find_left_over", list)
    assert main(["cleanup"]) == 0
    assert capsys.readouterr().out == "Nothing is left over.\n"


def test_cleanup_that_cannot_end_a_process_says_which(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setattr(ledger, "find_left_over", lambda: [LEFT, KEPT])
    monkeypatch.setattr(ledger, "undo", lambda left_over: set(left_over.processes[:1]))
    assert main(["cleanup"]) == 4
    printed = capsys.readouterr()
    assert "cluster-1 at /tmp/1 (its harness is gone, 2 processes): 20" in printed.err
    assert printed.out.startswith("removed cluster-2"), "the others are removed all the same"


@dataclass(frozen=True, kw_only=True)
class Pair(Target):
    name: ClassVar[str] = "pair"
    ports: ClassVar[Mapping[str, int]] = {"main": 1}
    nodes: int = 2


@pytest.mark.parametrize(("options", "nodes"), [([], 2), (["--nodes", "5"], 5)])
def test_up_starts_as_many_nodes_as_the_target_says_or_as_told(
    options: list[str], nodes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[tuple[int, str]] = []

    async def hold_up(target: Target, runtime: str, say: Any) -> None:
        held.append((target.nodes, runtime))

    monkeypatch.setattr("harness.up.hold_up", hold_up)
    monkeypatch.setattr("harness.catalogue.target_named", {"pair": Pair}.__getitem__)
    assert main(["up", "pair", *options]) == 0
    assert held == [(nodes, "process")]
    assert main(["up", "pair", *options, "--runtime", "docker"]) == 0
    assert held[1:] == [(nodes, "docker")]


def test_an_interrupt_exits_with_5(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    def interrupt() -> list[LeftOver]:
        raise KeyboardInterrupt

    monkeypatch.setattr(ledger, "find_left_over", interrupt)
    assert main(["cleanup"]) == 5
    assert capsys.readouterr().err == "Interrupted.\n"
