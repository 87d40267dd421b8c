"""How the engine is found, and what is said where there is none: against servers of our own."""

from __future__ import annotations

import json
import os
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from harness.errors import MissingPartError, UsageError
from harness.runtime.docker import engine as engines
from harness.runtime.docker.engine import Engine, connect, connect_to, find_place

pytest.importorskip("docker", reason="pip install 'chaos-harness[docker]'")

INFO: dict[str, Any] = {
    "ServerVersion": "20.10.24",
    "Driver": "overlay2",
    "CgroupVersion": "2",
    "CgroupDriver": "systemd",
    "NCPU": 4,
    "MemTotal": 8 * 1024**3,
    "SecurityOptions": ["name=seccomp,profile=default"],
    "Architecture": "x86_64",
    "KernelVersion": os.uname().release,
}

Serve = Callable[..., str]


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    info: dict[str, Any] = INFO
    silent = False
    asked = 0


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked += 1
        if self.server.silent:
            self.rfile.read(1)  # until the other side gives up
            return
        info = self.path.endswith("/info")
        body = json.dumps(self.server.info if info else {"ApiVersion": "1.41"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The CLI's settings, of nobody; nothing is remembered from one test to the next."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(engines, "_connected", {})
    folder = tmp_path / "cli"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    servers: list[Server] = []

    def start(**said: Any) -> str:
        path = tmp_path / f"engine-{len(servers)}.sock"
        server = Server(str(path), Handler)
        server.silent = said.pop("silent", False)
        server.info = {**INFO, **said}
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"unix://{path}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
    for engine in engines._connected.values():
        engine.api.close()


def at(host: str, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setenv("DOCKER_HOST", host)
    return connect()


def test_the_engine_of_docker_host(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    host = serve()
    engine = at(host, monkeypatch)
    assert (engine.where, engine.host, engine.local) == (f"{host} (DOCKER_HOST)", host, True)
    facts = engine.facts
    assert (facts.version, facts.api_version, facts.storage_driver) == (
        "20.10.24",
        "1.41",
        "overlay2",
    )
    assert (facts.cgroup_version, facts.cgroup_driver) == ("2", "systemd")
    assert (facts.cpus, facts.memory_bytes) == (4, 8 * 1024**3)
    assert (facts.rootless, facts.userns) == (False, False)
    assert engine.api.timeout == engines.TIMEOUT_S


def test_an_engine_is_asked_once_in_a_process(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = serve()
    assert at(host, monkeypatch) is connect() is connect_to(host)


def test_an_engine_can_be_found_again_by_its_address(serve: Serve) -> None:
    host = serve()
    assert connect_to(host).host == host


def test_a_socket_with_another_kernel_behind_it_is_not_local(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not at(serve(KernelVersion="6.6.0-linuxkit"), monkeypatch).local


def test_what_restricts_an_engine_is_seen(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["name=seccomp", "name=rootless", "name=userns"]
    facts = at(serve(SecurityOptions=options), monkeypatch).facts
    assert (facts.rootless, facts.userns) == (True, True)


def test_the_engine_of_the_current_context(serve: Serve, settings: Path) -> None:
    from docker import ContextAPI

    host = serve()
    ContextAPI.create_context("far", host=host)
    (settings / "config.json").write_text('{"currentContext": "far"}')
    assert connect().where == f"{host} (context far)"


def test_docker_host_comes_before_the_context(
    settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (settings / "config.json").write_text('{"currentContext": "far"}')
    monkeypatch.setenv("DOCKER_HOST", "ssh://somebody@somewhere")
    assert find_place().words == "ssh://somebody@somewhere (DOCKER_HOST)"


def test_without_any_setting_it_is_the_default_socket() -> None:
    assert find_place().words == "unix:///var/run/docker.sock (default)"


@pytest.mark.parametrize("how", ["settings", "variable"])
def test_a_context_that_is_not_there(
    how: str, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "settings":
        (settings / "config.json").write_text('{"currentContext": "gone"}')
    else:
        monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    with pytest.raises(UsageError, match="There is no docker context 'gone'"):
        connect()


def test_no_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingPartError, match=r"there is no .*/none\.sock") as caught:
        at(f"unix://{tmp_path}/none.sock", monkeypatch)
    assert "dockerd" in str(caught.value.do)


def test_a_file_that_is_no_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is not a socket"):
        at(f"unix://{tmp_path}/file", monkeypatch)


def test_a_socket_that_nobody_listens_at(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "left.sock"))
    with pytest.raises(MissingPartError, match="No Docker engine answers") as caught:
        at(f"unix://{tmp_path}/left.sock", monkeypatch)
    assert "refused" in str(caught.value.why)


def test_an_engine_that_is_silent_is_given_up(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "ANSWER_TIMEOUT_S", 0.2)
    with pytest.raises(MissingPartError, match="No Docker engine answers"):
        at(serve(silent=True), monkeypatch)


def test_a_socket_of_others(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    host = serve()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(MissingPartError, match="may not be used by this user") as caught:
        at(host, monkeypatch)
    assert "group `docker`" in str(caught.value.do)
    assert "sudo" in str(caught.value.do)


def test_an_address_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingPartError, match="No Docker engine answers at nonsense"):
        at("nonsense://x:1", monkeypatch)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(MissingPartError, match="The package `docker` is not installed") as caught:
        connect()
    assert caught.value.do == "pip install 'chaos-harness[docker]'"


def test_the_harness_does_not_import_the_package() -> None:
    import subprocess

    code = (
        "import sys, harness.doctor, harness.plugin, harness.cli; sys.exit('docker' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 0
