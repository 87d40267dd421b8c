"""The transport against servers that misbehave; the real one is in tests/live."""

from __future__ import annotations

import contextlib
import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from harness.errors import BrokenError
from harness.network.toxiproxy import ExistsError, NotFoundError, ToxiproxyError, refuse
from harness.network.transport import Call, Reply, ToxiproxyGone, ToxiproxyHangs, Transport

VERSION = Call("GET", "/version")


@contextlib.contextmanager
def server(handle: Callable[[socket.socket], None]) -> Iterator[tuple[str, int]]:
    """A server that hands each connection to `handle`, until the end of the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        opened: list[socket.socket] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    opened.append(connection)
                    threading.Thread(target=one, args=(connection,), daemon=True).start()

        def one(connection: socket.socket) -> None:
            with contextlib.suppress(OSError):
                handle(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for connection in opened:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                connection.close()


def read_for_ever(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def answering(*answers: bytes) -> Callable[[socket.socket], None]:
    """Answer the first request with `answers`, then close."""

    def handle(connection: socket.socket) -> None:
        connection.recv(65536)
        for answer in answers:
            connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)

    return handle


def test_a_server_that_never_answers_hangs_until_the_deadline() -> None:
    with server(read_for_ever) as address:
        transport = Transport(*address)
        start = time.monotonic()
        with pytest.raises(ToxiproxyHangs, match=r"GET /version within 0\.2 s") as caught:
            transport.call(VERSION, 0.2)
        assert 0.2 <= time.monotonic() - start < 2
        assert isinstance(caught.value, BrokenError)


def test_a_server_that_answers_a_byte_at_a_time_cannot_stretch_the_deadline() -> None:
    stop = threading.Event()

    def trickle(connection: socket.socket) -> None:
        while not stop.wait(0.02):
            connection.sendall(b"x")

    with server(trickle) as address:
        start = time.monotonic()
        with pytest.raises(ToxiproxyHangs):
            Transport(*address).call(VERSION, 0.3)
        assert time.monotonic() - start < 2
        stop.set()


def test_the_hanging_call_is_named_and_the_others_of_its_batch_are_lost_with_it() -> None:
    def first_only(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        read_for_ever(connection)

    with server(first_only) as address:
        calls = [Call("DELETE", "/a", lane="x"), Call("DELETE", "/b", lane="x")]
        with pytest.raises(ToxiproxyHangs, match="DELETE /b"):
            Transport(*address).batch(calls, 0.2)


def test_a_server_that_is_not_there_is_gone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = unused.getsockname()
    with pytest.raises(ToxiproxyGone, match="does not answer"):
        Transport(*address).call(VERSION, 1)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"what?\r\n\r\n",
        b"x" * 100_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_an_answer_that_is_no_whole_http_means_it_is_gone(answer: bytes) -> None:
    with server(answering(answer)) as address, pytest.raises(ToxiproxyGone):
        Transport(*address).call(VERSION, 2)


def test_chunked_and_empty_answers_are_read_whole() -> None:
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n"
    )
    with server(answering(chunked[:60], chunked[60:])) as address:
        transport = Transport(*address)
        assert transport.call(VERSION, 2).json() == [1, 2]
        transport.close()
    with server(answering(b"HTTP/1.1 204 No Content\r\n\r\n")) as address:
        transport = Transport(*address)
        assert transport.call(VERSION, 2) == Reply(204, b"")
        transport.close()


def test_an_empty_batch_asks_nobody() -> None:
    assert Transport("127.0.0.1", 1).batch([], 1) == []


def refusal(reply: Reply) -> ToxiproxyError:
    with pytest.raises(ToxiproxyError) as caught:
        refuse(Call("POST", "/proxies"), reply)
    return caught.value


def test_a_refusal_keeps_the_whole_answer_also_when_pickled() -> None:
    error = refusal(Reply(409, b'{"error": "proxy already exists", "status": 409}'))
    for one in (error, pickle.loads(pickle.dumps(error))):
        assert isinstance(one, ExistsError)
        assert (one.status, one.title) == (409, "proxy already exists")
        assert b"already" in one.body
        assert "POST /proxies: proxy already exists (status 409)" in str(one)


def test_a_refusal_without_json_keeps_its_text() -> None:
    assert isinstance(refusal(Reply(404, b"404 page not found\n")), NotFoundError)
    assert refusal(Reply(404, b"404 page not found\n")).title == "404 page not found"
    assert refusal(Reply(500, b"[1]")).title == "[1]"
    assert refusal(Reply(500, b"")).title == ""


def test_a_call_that_toxiproxy_itself_gives_up_hangs() -> None:
    with pytest.raises(ToxiproxyHangs, match="gave up"):
        refuse(VERSION, Reply(503, b""))
