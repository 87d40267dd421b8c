"""An engine that went away is an error like one that refuses: no traceback of a library's."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from docker.errors import APIError

from harness.runtime.docker.engine import Place, _client


@pytest.mark.parametrize("kind", ["refuses", "hangs up", "says nothing"])
def test_what_becomes_of_a_request(tmp_path: Path, kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = Place(f"tcp://127.0.0.1:{server.getsockname()[1]}", "test")
        client = _client(place, "1.41", 0.3)
        if kind == "refuses":
            server.close()
        elif kind == "hangs up":
            server.shutdown(socket.SHUT_RDWR)
        try:
            with pytest.raises(APIError, match="The engine does not answer"):
                client.inspect_container("x")
        finally:
            client.close()
