"""A container's log and exit status, as the harness keeps them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.runtime.docker.node import Life, Node, exit_status, follow

TIMEOUT_S = 5.0


@pytest.mark.parametrize(
    ("code", "status"), [(0, 0), (1, 1), (7, 7), (128, 128), (137, -9), (143, -15), (255, 255)]
)
def test_the_end_by_a_signal_is_negative(code: int, status: int) -> None:
    assert exit_status(code) == status


def test_the_tail_is_of_the_last_start_only(tmp_path: Path) -> None:
    log = tmp_path / "node-1.log"
    node = Node("node-1", "0123", log, Life())
    assert node.log_tail(2) == "It wrote nothing."
    log.write_text("one\ntwo\n")
    assert node.log_tail(1) == "two"
    node.life = Life(log_begin=log.stat().st_size)
    assert node.log_tail(20) == "It wrote nothing."
    with log.open("ab") as file:
        file.write(b"three\n\xff\n")
    assert node.log_tail(20) == "three\n\N{REPLACEMENT CHARACTER}"


def test_of_a_long_log_only_the_end_is_read(tmp_path: Path) -> None:
    log = tmp_path / "node-1.log"
    log.write_text("".join(f"line {number}\n" for number in range(50_000)))
    assert Node("node-1", "0123", log, Life()).log_tail(2) == "line 49998\nline 49999"


Piece = tuple[bytes | None, bytes | None]


class Output:
    """What a container writes: some pieces, and then perhaps the end of the connection."""

    def __init__(self, pieces: list[Piece], error: Exception | None = None) -> None:
        self.pieces = pieces
        self.error = error
        self.closed = False

    def __iter__(self) -> Iterator[Piece]:
        yield from self.pieces
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.closed = True


def logged(log: Path, output: Output) -> str:
    """What the log holds once the output has ended."""
    ended = threading.Event()
    thread = follow(log, output, ended.set)
    assert ended.wait(TIMEOUT_S)
    thread.join(TIMEOUT_S)
    assert output.closed
    return log.read_text()


@pytest.mark.parametrize("error", [None, OSError("gone"), ValueError("closed file")])
def test_output_goes_behind_what_is_there_and_its_end_is_told(
    tmp_path: Path, error: Exception | None
) -> None:
    log = tmp_path / "node-1.log"
    log.write_text("before\n")
    output = Output([(b"one\n", None), (b"tw", None), (b"o\nthree", None)], error)
    assert logged(log, output) == "before\none\ntwo\nthree"


def test_two_streams_do_not_cut_each_others_lines(tmp_path: Path) -> None:
    output = Output([(b"one\ntw", None), (None, b"a\nb"), (b"o\n", None), (None, b"\nlast")])
    assert logged(tmp_path / "node-1.log", output) == "one\na\ntwo\nb\nlast"


def test_a_line_without_an_end_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    seen: list[int] = []

    class Endless(Output):
        def __iter__(self) -> Iterator[Piece]:
            for _ in range(40):
                yield b"x" * 4096, None
                seen.append((tmp_path / "node-1.log").stat().st_size)

    assert len(logged(tmp_path / "node-1.log", Endless([]))) == 40 * 4096
    assert max(number * 4096 - size for number, size in enumerate(seen, start=1)) <= 65536


def test_a_log_that_cannot_be_written_is_an_end_too(tmp_path: Path) -> None:
    ended = threading.Event()
    follow(tmp_path / "none" / "node-1.log", Output([(b"lost\n", None)]), ended.set)
    assert ended.wait(TIMEOUT_S)
