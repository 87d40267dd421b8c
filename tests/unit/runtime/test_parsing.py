"""What is read from and written for the kernel: /proc/net, hosts files, and node descriptions."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from harness.errors import BrokenError, UsageError
from harness.runtime import NodeSpec, sockets
from harness.runtime.namespaces import hosts_text, namespaces, wrap
from harness.runtime.resources import Sampler


async def ready() -> bool:
    return True


def test_listeners_are_read_with_address_and_port() -> None:
    with socket.create_server(("127.9.8.7", 0)) as server:
        port = server.getsockname()[1]
        found = [listener for listener in sockets.listeners() if listener.port == port]
        assert [str(listener.address) for listener in found] == ["127.9.8.7"]
        assert sockets.wildcard_listener([os.getpid()], [port]) is None
        assert not sockets.any_wildcard("127.9.8.6", [port])
        with pytest.raises(BrokenError, match=f"node-1 cannot listen on 127.9.8.7:{port}"):
            sockets.require_free("node-1", "127.9.8.7", [port])
        sockets.require_free("node-1", "127.9.8.6", [port])


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_a_wildcard_listener_is_told_by_its_process(address: str) -> None:
    six = ":" in address
    if six and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    family = socket.AF_INET6 if six else socket.AF_INET
    with socket.create_server((address, 0), family=family, dualstack_ipv6=six) as server:
        port = server.getsockname()[1]
        found = sockets.wildcard_listener([os.getpid()], [port])
        assert found is not None
        assert sockets.any_wildcard("127.9.8.6", [port])
        assert (str(found.address), found.port) == (address, port)
        assert sockets.wildcard_listener([os.getppid()], [port]) is None
        assert sockets.wildcard_listener([os.getpid()], [port + 1]) is None


def test_a_hosts_file_keeps_what_the_machine_says_of_others() -> None:
    machine = (
        "127.0.0.1 localhost\n::1 localhost ip6  # six\n10.0.0.9 node-2 box\n\n# no\n1.2.3.4 x"
    )
    text = hosts_text({"node-1": "127.20.0.1", "node-2": "127.20.1.2"}, machine)
    assert text.splitlines() == [
        "127.0.0.1 localhost",
        "127.20.0.1 node-1",
        "127.20.1.2 node-2",
        "::1 localhost ip6",
        "10.0.0.9 box",
        "1.2.3.4 x",
    ]


def test_the_command_itself_comes_last_and_unchanged() -> None:
    argv = ["server", "--flag", "a b"]
    assert wrap("none", argv, Path("/h"), 7, 8) == argv
    for kind in ("root", "user"):
        command = wrap(kind, argv, Path("/h"), 7, 8)  # type: ignore[arg-type]
        assert command[-3:] == argv
        assert command[0] == "unshare"
    assert "--map-user=7" in command
    assert "--map-group=8" in command


def test_support_comes_with_a_reason() -> None:
    support = namespaces()
    assert support.kind in ("root", "user", "none")
    assert support.reason
    assert namespaces() is support


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", ""])
def test_files_outside_a_home_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="outside its home"):
        NodeSpec("node-1", ["x"], {}, ready, files={name: ""})


def test_a_node_needs_a_command() -> None:
    with pytest.raises(UsageError, match="has no command"):
        NodeSpec("node-1", [], {}, ready)


def test_nothing_is_sampled_where_nothing_runs() -> None:
    assert Sampler().sample({"node-1": []}, 0) == []
