"""What cannot have been, or is not whole, is refused with its place; nothing is guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UnreadableError
from harness.formats import read
from harness.history import History
from tests.support.foreign import EDN, JSON_LINES, LOG, TAB, our_line

INVOKE = "{:process 0 :type :invoke :f :read}"
OK = "{:process 0 :type :ok :f :read :value 1}"


def refusal(tmp_path: Path, text: str | bytes, format: str = "auto") -> str:
    """What the error says."""
    path = tmp_path / "file"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UnreadableError) as error:
        read(path, format)
    return str(error.value)


@pytest.mark.parametrize(
    ("line", "reason", "lines"),
    [
        (2, "Process 0 has another op open", [INVOKE, INVOKE]),
        (3, "Process 0 has no op open", [INVOKE, OK, OK]),
        (2, "Process 1 has no op open", [INVOKE, OK.replace("0", "1")]),
        (2, "Process 1 has no op open", [INVOKE, OK.replace("0", "1").replace(":ok", ":info")]),
        (
            2,
            "This 'write' completes an op 'read' of process 0",
            [INVOKE, OK.replace("read", "write")],
        ),
        (
            2,
            "on key 'b' completes one on key 'a'",
            ["{:type :invoke :key :a}", "{:type :ok :key :b}"],
        ),
        (
            4,
            "Process 0 has no op open",
            [INVOKE, "{:process 0 :type :ok", " :value #{1}}", OK.replace("1", "#{2}")],
        ),
        (2, "those before were completed only", [OK, INVOKE]),
        (2, "The type 'done' is none of", [INVOKE, OK.replace(":ok", ":done")]),
        (1, "The type None is none of", ["{:process 0 :f :read}"]),
        (2, "The f 7 is no name", [INVOKE, INVOKE.replace(":read", "7").replace("0", "1")]),
        (2, r"The process \[0\] is neither", [INVOKE, OK.replace("0", "[0]")]),
        (2, "The process 1.5 is neither", [INVOKE, OK.replace("0", "1.5")]),
        (2, "The process True is neither", [INVOKE, OK.replace("0", "true")]),
        (2, "Some ops name a process, and some do not", [INVOKE, "{:type :invoke}"]),
        (2, "Some ops name a process, and some do not", ["{:type :invoke}", OK]),
        (2, "The index 'one' is no whole number", [INVOKE, "{:index :one " + OK[1:]]),
        (2, "The index 1.0 is no whole number", [INVOKE, "{:index 1.0 " + OK[1:]]),
        (2, "The index True is no whole number", [INVOKE, "{:index true " + OK[1:]]),
        (2, "Its index 3 does not follow 3", ["{:index 3 " + INVOKE[1:], "{:index 3 " + OK[1:]]),
        (
            2,
            "Its index 2 does not follow 3",
            ["{:index 3 :process :nemesis :type :info}", "{:index 2 " + OK[1:]],
        ),
        (1, "The time 'now' is no number", ["{:time :now " + INVOKE[1:]]),
        (1, "The time True is no number", ["{:time true " + INVOKE[1:]]),
        (2, "Here stands 7, and no op map", [INVOKE, "7"]),
        (2, r"Here stands \[\], and no op map", [INVOKE, "[]"]),
        (2, r"Here stands \[\{'process': 0.*\}\], and no op map", ["[" + INVOKE, f"[{OK}]]"]),
        (3, "Something stands after the bracket", ["[" + INVOKE + "]", "", OK]),
        (1, "The file ends within what begins here", [INVOKE[:-1]]),
        (3, "It ends before the ']' that closes all ops", ["[" + INVOKE, OK]),
        (2, r"Here stands '\)', where a value should", ["[" + INVOKE, OK + ")"]),
        (2, r"Here stands '\]', where a value should", [INVOKE, OK + "]"]),
        (2, r"Here stands '\]', but '\{' is what is open", [INVOKE, OK[:-1] + "]"]),
        (2, "The key 'f' stands twice", [INVOKE, "{:f :read " + OK[1:]]),
        (2, "The key 'value' has no value", [INVOKE, OK.replace(" 1", "")]),
        (3, "'1x' is no number", [INVOKE, OK[:10] + "\n" + OK[10:].replace("1", "1x")]),
    ],
)
def test_edn(tmp_path: Path, line: int, reason: str, lines: list[str]) -> None:
    said = refusal(tmp_path, "\n".join(lines) + "\n", "edn")
    assert f"file:{line}: the file is damaged." in said
    with pytest.raises(UnreadableError, match=f"\nWhy: .*{reason}.*\nDo: "):
        read(tmp_path / "file", "edn")


@pytest.mark.parametrize(
    ("line", "reason", "text"),
    [
        (2, "This is no JSON: Expecting", '{"type":"invoke"}\n{"type":}'),
        (2, "Here stands 3, and no op map", '{"type":"invoke"}\n3'),
        (1, "Here stands 'type', and no op map", '["type"]'),
        (1, r"Here stands \[\], and no op map", "[[]]"),
        (2, "ends within what begins here", '{"type":"invoke"}\n{"type":"ok","value":[1]'),
        (2, "ends within what begins here", '{"type":"invoke"}\n{"type":"o'),
        (1, "It ends before the ']'", '[{"type":"invoke"},'),
        (1, "Something stands after", '[{"type":"invoke"}]]'),
        (2, "This is no JSON", '{"type":"invoke"}\n]'),
        (1, "This is no JSON", '{"type":"invoke","value":[1}]}'),
        (1, "This is no JSON", '{"type":"invoke","value":\'a\'}'),
        (1, "This is no JSON that can be read", '{"value":' + "[" * 10**5 + "]" * 10**5 + "}"),
        (1, "This is no JSON that can be read", '{"value":' + "9" * 5000 + "}"),
    ],
)
def test_json(tmp_path: Path, line: int, reason: str, text: str) -> None:
    said = refusal(tmp_path, text, "json")
    assert f"file:{line}: the file is damaged." in said
    assert reason.replace("\\", "") in said


@pytest.mark.parametrize(
    ("line", "reason", "text"),
    [
        (2, "process, type, f and value, with tabs", f"1{TAB}:ok{TAB}:read{TAB}1\n2{TAB}:ok\n"),
        (1, "process, type, f and value, with tabs", f"INFO x - 2{TAB}:ok{TAB}:read\n"),
        (1, "'[1' cannot be read. It ends too early", f"2{TAB}:ok{TAB}:read{TAB}[1\n"),
        (1, "'1x' cannot be read. '1x' is no number", f"2{TAB}:ok{TAB}:read{TAB}1x\n"),
        (1, "'1 2' cannot be read. Something", f"2{TAB}:ok{TAB}:read{TAB}1 2\n"),
        (1, "The type 'done' is none of", f"2{TAB}:done{TAB}:read{TAB}1\n"),
        (
            2,
            "The file ends within this line",
            f"2{TAB}:ok{TAB}:read{TAB}1\n3{TAB}:ok{TAB}:read{TAB}1",
        ),
    ],
)
def test_jepsen_log(tmp_path: Path, line: int, reason: str, text: str) -> None:
    said = refusal(tmp_path, text, "jepsen-log")
    assert f"file:{line}: the file is damaged." in said
    assert reason in said


@pytest.mark.parametrize("format", ["edn", "json", "jepsen-log"])
@pytest.mark.parametrize("bad", [b"\xff", b"\xc3(", b"\xed\xa0\x80", b"\xc3"])
def test_what_is_no_utf8(tmp_path: Path, format: str, bad: bytes) -> None:
    first = b'{"type":"invoke"}' if format == "json" else INVOKE.encode()
    said = refusal(tmp_path, first + b'\n\n{"\xc3\xa4 ' + bad, format)
    assert "file:3: the file is damaged." in said
    assert f"byte 0x{bad[0]:02x} is no UTF-8" in said


@pytest.mark.parametrize("format", ["auto", "jsonl"])
def test_our_own(tmp_path: Path, format: str) -> None:
    begun = our_line(5, "invoke") + our_line(9, "ok")
    said = refusal(tmp_path, begun + our_line(11, "ok") + our_line(12, "invoke"), format)
    assert "file:3: Record 11 (ok read of process 0) cannot be: its process has no op open" in said
    assert "file:2: this line is no record" in refusal(
        tmp_path, begun.replace('"ok"', '"of"'), format
    )


def test_what_is_no_utf8_in_our_own(tmp_path: Path) -> None:
    text = our_line(0, "invoke").replace('"x"', '"\udcff"').encode("utf-8", "surrogateescape")
    assert "file:1:" in refusal(tmp_path, text + our_line(1, "ok").encode(), "jsonl")


def test_a_log_that_is_compressed(tmp_path: Path) -> None:
    assert "no format that is known" in refusal(tmp_path, b"\x1f\x8b\x08\x00\xff\xff\n")


SMALL = {
    "edn": EDN.encode(),
    "edn in a vector": f"[{INVOKE},\n {OK} ; ä\n]".encode(),
    # With a key, their first line could be one of ours, of which the second is half.
    "json": "\n".join(JSON_LINES).replace(',"key":"k"', "").encode(),
    "json in an array": ("[" + ",\n".join(JSON_LINES) + "]").encode(),
    "jepsen-log": LOG.encode() + f"8{TAB}:invoke{TAB}:write{TAB}".encode() + '"ä"\n'.encode(),
    "porcupine-kv": b'{:type :invoke :f :put :key "a" :value "b c"}\n{:type :ok :f :put :key "a"}',
    "jsonl": (
        our_line(0, "invoke", value="ä") + our_line(1, "ok", value=[1]) + our_line(4, "invoke")
    ).encode(),
}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(("auto", "step"), [(False, 1), (True, 7)])
def test_a_file_that_is_cut_anywhere(tmp_path: Path, name: str, auto: bool, step: int) -> None:
    whole = SMALL[name]
    format = "auto" if auto else name.split()[0]
    path = tmp_path / "file.jsonl" if name == "jsonl" else tmp_path / "file"
    path.write_bytes(whole)
    lines = read(path, format)
    read_anyhow = 0
    for length in range(0, len(whole), step):
        path.write_bytes(whole[:length])
        try:
            history = read(path, format)
        except UnreadableError as error:
            assert "file" in str(error)
            continue
        read_anyhow += 1
        rest = whole[length:].decode(errors="replace")
        assert between_ops(whole[:length], rest, name)
        assert begins_with(lines, history)
    assert read_anyhow > 0 or auto or " in " in name


def between_ops(head: bytes, rest: str, name: str) -> bool:
    """Whether a cut here leaves nothing that shows it."""
    if name == "jsonl":
        return True
    if " in " in name:
        return rest.strip() == ""
    if name == "jepsen-log":
        return head.endswith(b"\n")
    if name == "edn" and not head.rstrip(b" \n").endswith(b"}"):
        return b"#_" not in head.rsplit(b"\n", 1)[1] and not head.endswith(b"#")
    return head.rstrip(b" \n").endswith(b"}")


def begins_with(whole: History, part: History) -> bool:
    """Whether `part` says of the first ops what `whole` says, as far as it goes."""
    for op, cut in zip(whole.ops, part.ops, strict=False):
        if (op.process, op.f, op.value, op.index) != (cut.process, cut.f, cut.value, cut.index):
            return False
        if cut.end is not None and (op.outcome, op.result) != (cut.outcome, cut.result):
            return False
    return len(part.ops) <= len(whole.ops)
