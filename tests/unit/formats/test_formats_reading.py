"""Reading histories in each format, and which format a file is taken for."""

from __future__ import annotations

import contextlib
import csv
import gc
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UnreadableError, UsageError
from harness.formats import FORMATS, from_maps, read
from harness.formats import _source as source_module
from harness.history import MISMATCH, History, Phase
from tests.support.foreign import EDN, JSON_LINES, LOG, our_line
from tests.support.histories import GOLDEN


def told(history: History) -> list[tuple[Any, ...]]:
    """Per op: process, f, value, outcome, result, index, end_index."""
    return [
        (op.process, op.f, op.value, op.outcome, op.result, op.index, op.end_index)
        for op in history.ops
    ]


def of(tmp_path: Path, text: str, format: str = "auto", name: str = "file") -> History:
    """The history that `text` is read as."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read(path, format)


def test_edn(tmp_path: Path) -> None:
    history = of(tmp_path, EDN)
    asked, answered = [["append", 3, 1], ["r", "x", None]], [["append", 3, 1], ["r", "x", [1, 2]]]
    assert told(history) == [
        (0, "txn", asked, "ok", answered, 1, 6),
        (1, "read", None, "info", None, 4, None),
    ]
    assert [(op.start, op.end) for op in history.ops] == [(7, 11), (9, None)]
    assert history.ops[1].error == '["timeout", "none"]'
    assert history.realtime


@pytest.mark.parametrize(
    "around", ["{}", "[{}]", "({})", "\ufeff[\n{}]\n", "; ops\n[{} #_ {{:a}}]"]
)
@pytest.mark.parametrize("between", ["\n", " ", ", ", ",\n ; and\n", " #_ {:a 1} "])
def test_edn_in_a_sequence_or_in_a_bracket(tmp_path: Path, around: str, between: str) -> None:
    lines = ["{:type :invoke :value 1}", "{:type :ok :value 2}", "{:type :invoke, :value [3]}"]
    around = around.replace("{{:a}}", "{{:a 1}}")
    history = of(tmp_path, around.format(between.join(lines)))
    assert told(history) == [(0, "txn", 1, "ok", 2, 0, 1), (0, "txn", [3], "info", None, 2, None)]


@pytest.mark.parametrize("around", ["{}", "[{}]", "\ufeff [ {} ] "])
@pytest.mark.parametrize("between", ["\n", ",\n", ","])
def test_json(tmp_path: Path, around: str, between: str) -> None:
    history = of(tmp_path, around.replace("{}", between.join(JSON_LINES)), name="file.jsonl")
    assert told(history) == [
        (3, "cas", [1, {"a": "}"}], "fail", None, 1, 3),
        (4, "txn", 123456789012345678901234567890, "info", None, 4, None),
    ]
    assert (history.ops[0].key, history.ops[0].error) == ("k", MISMATCH)


@pytest.mark.parametrize(
    "number", [2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**19, 10**30, 12345678901234567890]
)
@pytest.mark.parametrize("shift", range(6))
def test_long_numbers_keep_all_their_digits(tmp_path: Path, number: int, shift: int) -> None:
    line = f'{"": <{shift}}{{"type":"invoke","value":[{number}]}}'
    assert of(tmp_path, line).ops[0].value == [number]


@pytest.mark.parametrize("before", ["[main] INFO  jepsen.util - ", "(1) ", "{a} x "])
def test_a_log_whose_lines_begin_with_a_bracket(tmp_path: Path, before: str) -> None:
    line = "3\t:invoke\t:read\tnil\n"
    format = "jepsen-log" if before[0] == "{" else "auto"
    assert told(of(tmp_path, before + line, format)) == [(3, "read", None, "info", None, 0, None)]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_jepsen_log(tmp_path: Path, end: str) -> None:
    history = of(tmp_path, LOG.replace("\n", end))
    assert [(op.process, op.f, op.value, op.outcome, op.result) for op in history.ops] == [
        (3, "cas", [1, 2], "fail", [1, 2]),
        (4, "read", None, "fail", None),
        (5, "cas", [3, 4], "fail", [3, 4]),
        (6, "write", 7, "info", None),
        (7, "read", None, "ok", 7),
    ]
    errors = [op.error for op in history.ops]
    assert errors == [MISMATCH, "timed-out", "not found", "timed-out", None]
    assert [op.answered for op in history.ops] == [True, False, False, False, True]


@pytest.mark.parametrize("format", ["auto", "edn", "porcupine-kv"])
def test_porcupine_kv(tmp_path: Path, format: str) -> None:
    text = (
        '{:process 0, :type :invoke, :f :append, :key "0", :value "x 0 0 y"}\n'
        '{:process 0, :type :ok, :f :append, :key "0", :value "x 0 0 y"}\n'
        '{:process 1, :type :invoke, :f :get, :key "7", :value nil}\n'
        '{:process 1, :type :ok, :f :get, :key "7", :value ""}\n'
    )
    history = of(tmp_path, text, format)
    assert [(op.f, op.key, op.value, op.result) for op in history.ops] == [
        ("append", "0", "x 0 0 y", "x 0 0 y"),
        ("get", "7", None, ""),
    ]


def test_our_own_is_read_the_same_as_json(tmp_path: Path) -> None:
    text = our_line(0, "invoke", node="node-1", final=True) + our_line(3, "ok", value=[1])
    text += our_line(4, "invoke", f="cas", value=[1, 2]) + our_line(5, "fail", f="cas", error="e")
    text += (
        our_line(6, "invoke")
        + our_line(7, "info", error="timeout")
        + our_line(9, "invoke", process=2)
    )
    ours = of(tmp_path, text)
    assert ours.ops == of(tmp_path, text, "json").ops == of(tmp_path, text, "jsonl").ops
    assert [op.outcome for op in ours.ops] == ["ok", "fail", "info", "info"]


def test_a_killed_run_leaves_half_a_line(tmp_path: Path) -> None:
    text = our_line(0, "invoke") + our_line(1, "ok")[:-9]
    for format in ("auto", "jsonl"):
        assert told(of(tmp_path, text, format)) == [(0, "read", None, "info", None, 0, None)]
    with pytest.raises(UnreadableError, match="ends within what begins here"):
        of(tmp_path, text, "json")


def test_the_folder_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text(our_line(0, "invoke"))
    assert len(read(tmp_path)) == 1
    identity = tmp_path / "run.json"
    identity.write_text('{"phases": [["before", 0, 5], ["during", 5, 9]]}')
    assert read(tmp_path).phases == (Phase("before", 0, 5), Phase("during", 5, 9))
    for damaged in ("{", "[]", '{"phases": 3}', '{"phases": [["x"]]}'):
        identity.write_text(damaged)
        assert read(tmp_path).phases == ()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableError, match=r"empty/history\.jsonl cannot be read"):
        read(tmp_path / "empty")


def test_values_of_independent_keys_are_taken_apart(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(
        "{:process 0 :type :invoke :f :cas :value [7 [1 2]]}\n"
        "{:process :nemesis :type :info :f :start :value :all}\n"
        "{:process 0 :type :ok :f :cas :value [7 [1 2]]}\n"
        "{:process 1 :type :invoke :f :read :value [8 nil]}\n"
        "{:process 1 :type :ok :f :read :value [8 3]}\n"
        "{:process 2 :type :invoke :f :write :value [8 4]}\n"
        "{:process 2 :type :info :f :write}\n"
    )
    ops = read(path, independent=True).ops
    assert [(op.key, op.value, op.result) for op in ops] == [
        (7, [1, 2], [1, 2]),
        (8, None, 3),
        (8, 4, None),
    ]
    assert [op.key for op in read(path).ops] == [None, None, None]
    path.write_text("{:process 0 :type :invoke :f :write :value 3}")
    with pytest.raises(UnreadableError, match=r"file:1:") as error:
        read(path, independent=True)
    assert "no pair of a key and a value" in str(error.value)
    path.write_text(our_line(0, "invoke"))
    with pytest.raises(UsageError, match="names the key of every op"):
        read(path, independent=True)


def test_a_format_that_is_none() -> None:
    with pytest.raises(UsageError, match="no format 'yaml'") as error:
        read(Path("any"), "yaml")
    assert all(name in str(error.value) for name in FORMATS)


@pytest.mark.parametrize("text", ["", " \n", "\ufeff", "; none\n[]", "[]", "[\n]", "()"])
def test_a_file_without_ops(tmp_path: Path, text: str) -> None:
    with pytest.raises(UnreadableError, match="file holds no ops"):
        of(tmp_path, text)


@pytest.mark.parametrize("format", ["jsonl", "edn", "json", "jepsen-log", "porcupine-kv"])
def test_an_empty_file_of_any_format(tmp_path: Path, format: str) -> None:
    with pytest.raises(UnreadableError, match="file holds no ops"):
        of(tmp_path, "", format)


def test_a_file_of_the_nemesis_alone(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="holds no ops"):
        of(tmp_path, "{:process :nemesis :type :info :f :start}")


@pytest.mark.parametrize("text", ["hello\n", "<xml/>", "\x00\x01", "3,invoke,read", "\ufffd"])
def test_a_file_of_an_unknown_format(tmp_path: Path, text: str) -> None:
    with pytest.raises(UnreadableError, match="no format that is known") as error:
        of(tmp_path, text)
    assert all(name in str(error.value) for name in FORMATS)


def test_op_maps_that_are_read_already() -> None:
    maps = [{"type": "invoke", "value": 1}, {"type": "ok", "value": 2}]
    assert told(from_maps(maps)) == [(0, "txn", 1, "ok", 2, 0, 1)]
    with pytest.raises(UnreadableError, match="Op map 3 cannot be"):
        from_maps([*maps, {"type": "ok"}])


@pytest.mark.parametrize("format", ["edn", "json", "jepsen-log"])
def test_ops_that_lie_across_the_pieces_of_a_file(
    tmp_path: Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text({"edn": EDN, "json": "\n".join(JSON_LINES) + "\n", "jepsen-log": LOG}[format])
    whole = read(path)
    more = source_module.Source.more
    for size in range(1, 40):
        small = size  # bound now, for the function below
        monkeypatch.setattr(source_module.Source, "more", lambda self, n=small: more(self, n))
        assert read(path, format).ops == whole.ops


def test_an_op_that_never_ends_is_not_read_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "LONGEST", 1 << 16)
    path = tmp_path / "file"
    path.write_text('{:type :invoke}\n{:type "' + "a" * (1 << 22))
    with pytest.raises(UnreadableError, match=r"file:2: .*\n.*no end within 65536"):
        read(path)


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("text", ["{:type :invoke}", "{:type :done}"])
def test_the_collector_is_as_it_was(tmp_path: Path, running: bool, text: str) -> None:
    was = gc.isenabled()
    (gc.enable if running else gc.disable)()
    try:
        with contextlib.suppress(UnreadableError):
            of(tmp_path, text)
        assert gc.isenabled() is running
    finally:
        (gc.enable if was else gc.disable)()


def _rows() -> list[dict[str, str]]:
    index = GOLDEN / "expected.tsv"
    if not index.exists():
        return []
    with index.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.mark.parametrize("row", _rows(), ids=lambda row: row["file"])
def test_published_histories(row: dict[str, str]) -> None:
    history = read(GOLDEN / row["file"])
    assert history.ops == read(GOLDEN / row["file"], row["format"]).ops
    assert history.realtime
    indexes = [op.index for op in history.ops]
    assert indexes == sorted(set(indexes))
    assert all(op.end is None or op.start <= op.end for op in history.ops)
    lost = [op.process for op in history.ops if op.outcome == "info"]
    assert len(lost) == len(set(lost))  # a process has at most one, its last


def test_the_same_history_in_both_languages() -> None:
    for name in ("paper-example", "rw-register"):
        path = GOLDEN / "elle-cli" / "elle" / f"{name}.edn"
        if not path.exists():
            pytest.skip(f"no golden histories at {GOLDEN}")
        assert read(path).ops == read(path.with_suffix(".json")).ops
