"""The program around one PostgreSQL server, with stand-ins for the server and for initdb."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from targets.jobs.app import postgres
from targets.jobs.app.postgres import DATA, NEW, MakingError, Server, Settings

TIMEOUT_S = 20.0

INITDB = """#!/bin/sh
for word in "$@"; do case $word in --pgdata=*) data=${word#--pgdata=};; esac; done
mkdir "$data" && echo "# as made" > "$data/postgresql.conf"
"""

SERVER = """#!/bin/sh
if [ "$1" = --single ]; then
  echo "$4" >> "$3/statements"; cat >> "$3/statements"
  grep -q WRONG "$3/statements" && echo "ERROR:  wrong"
  exit 0
fi
trap 'echo fast > said; exit 0' INT
trap 'echo smart > said; exit 3' TERM
echo up > up
while [ ! -e end ]; do sleep 0.01; done
exit 7
"""


def programs(home: Path) -> Path:
    """A server and an initdb; a link to the server, as on PATH."""
    for name, text in (("postgres", SERVER), ("initdb", INITDB)):
        path = home / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    link = home / "postgres"
    link.symlink_to(home / "bin" / "postgres")
    return link


def settings(*setup: tuple[str, str]) -> Settings:
    return Settings(address="127.0.0.9", port=5432, settings={"jit": "it's off"}, setup=setup)


def test_settings_are_read_back_as_they_were_written() -> None:
    wanted = settings(("postgres", "CREATE ROLE r"))
    read = Settings.from_json(wanted.to_json())
    assert read.setup == [["postgres", "CREATE ROLE r"]]
    assert (read.address, read.port, read.settings) == ("127.0.0.9", 5432, {"jit": "it's off"})


def test_a_new_server_has_its_settings_and_what_the_statements_made(tmp_path: Path) -> None:
    made = [("postgres", "CREATE ROLE r"), ("postgres", "CREATE DATABASE d"), ("d", "SELECT 1")]
    server = Server(programs(tmp_path).resolve(), tmp_path, settings(*made))
    assert not server.made
    server.make()
    assert server.made
    data = tmp_path / DATA
    configuration = (data / "postgresql.conf").read_text().splitlines()
    assert configuration[0] == "# as made"
    assert "jit = 'it''s off'" in configuration
    assert "listen_addresses = '127.0.0.9'" in configuration
    assert "unix_socket_directories = ''" in configuration
    assert (data / "pg_hba.conf").read_text() == "host all all all scram-sha-256\n"
    assert (data / "statements").read_text().splitlines() == [
        "postgres",
        "CREATE ROLE r",
        "CREATE DATABASE d",
        "d",
        "SELECT 1",
    ]


def test_what_a_kill_left_half_made_is_made_again(tmp_path: Path) -> None:
    server = Server(programs(tmp_path).resolve(), tmp_path, settings())
    (tmp_path / NEW).mkdir()
    (tmp_path / NEW / "rubbish").touch()
    server.make()
    assert not (tmp_path / DATA / "rubbish").exists()


def test_a_statement_that_fails_leaves_no_data(tmp_path: Path) -> None:
    server = Server(programs(tmp_path).resolve(), tmp_path, settings(("postgres", "WRONG")))
    with pytest.raises(MakingError, match="ERROR"):
        server.make()
    assert not server.made


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_fast_shutdown(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path)
    wait_for(tmp_path / "up")
    process.send_signal(number)
    process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    assert (tmp_path / "said").read_text() == "fast\n"


def test_a_server_that_ends_by_itself_ends_the_program(tmp_path: Path) -> None:
    process = start(tmp_path)
    wait_for(tmp_path / "up")
    (tmp_path / "end").touch()
    _out, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert "the server ended by itself, status 7" in errors


def test_the_process_id_of_a_server_that_was_killed_is_forgotten(tmp_path: Path) -> None:
    """It may be that of a zombie, or of anybody by now."""
    process = start(tmp_path)
    wait_for(tmp_path / "up")
    (tmp_path / DATA / "postmaster.pid").write_text("1\n")
    process.kill()  # the server lives on, and holds the pipe open
    process.wait(TIMEOUT_S)
    assert process.stderr is not None
    process.stderr.close()
    again = start_again(tmp_path)
    _out, errors = again.communicate(timeout=TIMEOUT_S)
    assert again.returncode == 1
    assert "another server runs on" in errors
    assert (tmp_path / DATA / "postmaster.pid").exists()
    (tmp_path / "end").touch()  # now it does not
    deadline = time.monotonic() + TIMEOUT_S
    while (tmp_path / DATA / "postmaster.pid").exists():
        assert time.monotonic() < deadline
        start_again(tmp_path).communicate(timeout=TIMEOUT_S)


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    process = start(tmp_path, program="no-such-postgres")
    _out, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert "no program no-such-postgres" in errors


def start(home: Path, program: str | None = None) -> subprocess.Popen[str]:
    link = programs(home)
    (home / "postgres.json").write_text(settings().to_json())
    return start_again(home, program or str(link))


def start_again(home: Path, program: str = "./postgres") -> subprocess.Popen[str]:
    command = [sys.executable, "-P", postgres.__file__, program, "postgres.json"]
    return subprocess.Popen(command, cwd=home, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
