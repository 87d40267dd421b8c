"""One PostgreSQL server on data of its own, as one program in the foreground.

    python postgres.py /usr/lib/postgresql/15/bin/postgres postgres.json

The file says where it listens, its settings, and the SQL statements that a new database begins
with (`Settings`). The data are below the working directory. SIGTERM and SIGINT are a fast shutdown:
sessions are ended, and what was committed is kept. Only the standard library, and no package around
it: it runs wherever there is a Python.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from types import FrameType

DATA = "data"
NEW = "data.new"
"""What `initdb` has made is moved to its place when it is whole: a kill leaves no half of it."""

LOCK = "lock"

SUPERUSER = "postgres"
"""Has no password, and there is no socket for those who need none: nobody can be it from outside,
unless a statement of the set-up gives it one."""

MAKE_TIMEOUT_S = 60.0
"""For `initdb`, and for the first statements; both take about a second."""

UNPRIVILEGED = 65534
"""Who root is to PostgreSQL, which refuses to run as root, and wants a user that exists: nobody."""

ACCESS = "host all all all scram-sha-256\n"

FIXED = {
    # Nothing outside the data: no socket, and no shared memory that a SIGKILL would leave behind.
    "unix_socket_directories": "",
    "dynamic_shared_memory_type": "mmap",
    "logging_collector": "off",
    "log_destination": "stderr",
}

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_CLONE_NEWUSER, _CLONE_NEWIPC = 0x10000000, 0x08000000


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`setup` are SQL statements, each one line, that a new server carries out as its superuser
    before anybody can connect: (database, statement). `settings` are those of postgresql.conf."""

    address: str
    port: int
    settings: Mapping[str, str] = field(default_factory=dict)
    setup: Sequence[tuple[str, str]] = ()

    def to_json(self) -> str:
        return json.dumps(vars(self))

    @classmethod
    def from_json(cls, text: str) -> Settings:
        return cls(**json.loads(text))


class Server:
    """The server on the data below `home`. `make` if there are none yet, and then `run`, once."""

    def __init__(self, program: Path, home: Path, settings: Settings) -> None:
        self._program = program
        self._home = home
        self._settings = settings
        self._pid = 0
        self._ending = False

    @property
    def made(self) -> bool:
        return (self._home / DATA).exists()

    def make(self) -> None:
        """Make the data, with what the settings' `setup` says. Raises `MakingError`."""
        new = self._home / NEW
        shutil.rmtree(new, ignore_errors=True)  # of a node that was killed meanwhile
        initdb = self._program.with_name("initdb")
        self._finish(
            [
                str(initdb),
                f"--pgdata={new}",
                f"--username={SUPERUSER}",
                "--auth=reject",
                "--encoding=UTF8",
                "--no-locale",
                "--no-sync",
                "--no-instructions",
            ]
        )
        (new / "pg_hba.conf").write_text(ACCESS)
        with (new / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {_quoted(value)}\n" for name, value in self._values())
        for database, statements in groupby(self._settings.setup, key=itemgetter(0)):
            # Without a server that others could already reach.
            single = [str(self._program), "--single", "-D", str(new), database]
            self._finish(single, "".join(f"{statement}\n" for _, statement in statements))
        new.rename(self._home / DATA)

    def run(self) -> int:
        """Serve until a signal comes or the server ends by itself. 0 if it was asked to end and
        did so in order, else 1. Raises `BusyError`."""
        self._take()
        for number in _SIGNALS:
            signal.signal(number, self._end)
        # A signal between the start and the entry here would miss the server.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        command = [str(self._program), "-D", str(self._home / DATA)]
        self._pid = os.posix_spawn(command[0], command, os.environ, setsigmask=())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        _pid, status = os.waitpid(self._pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if not self._ending:
            say(f"the server ended by itself, status {code}")
        return 0 if self._ending and code == 0 else 1

    def _take(self) -> None:
        """Make sure that nobody else serves these data, and that the server believes it.

        A server that was killed leaves its process id in its data. That of one whose parent was
        killed as well stays a zombie where nobody reaps orphans (many a container), and the next
        server would take it for one that runs. So the lock here is the kernel's: the server and its
        processes inherit it, and it goes with the last of them.
        """
        lock = os.open(self._home / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise BusyError(f"another server runs on {self._home / DATA}") from None
        os.set_inheritable(lock, True)
        (self._home / DATA / "postmaster.pid").unlink(missing_ok=True)

    def _values(self) -> list[tuple[str, str]]:
        listen = {
            "listen_addresses": self._settings.address,
            "port": str(self._settings.port),
        }
        return list({**self._settings.settings, **FIXED, **listen}.items())

    def _finish(self, command: Sequence[str], text: str = "") -> None:
        """Run a command to its end. One that a statement failed in ends well all the same, having
        said ERROR."""
        try:
            done = subprocess.run(
                command,
                input=text,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=MAKE_TIMEOUT_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MakingError(f"{command[0]} did not do its work: {error}") from error
        if done.returncode or "ERROR:" in done.stdout:
            raise MakingError(f"{command[0]} ended with {done.returncode}:\n{done.stdout}")

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._ending = True
        # It may have ended, and a signal arrived before that was noticed.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGINT)


class MakingError(Exception):
    """The data could not be made."""


class BusyError(Exception):
    """Somebody else serves the data."""


def isolate() -> None:
    """Become an ordinary user who has System V shared memory to itself.

    In a user namespace of its own, root is somebody else to PostgreSQL and still the owner of its
    files, wherever these are. In an IPC namespace of its own, the segment with which a server locks
    its data goes with the last of its processes, also when they are killed. Somebody else than root
    may be refused both (in a container, which has an IPC namespace already), and does without.
    """
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWIPC) == 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid or UNPRIVILEGED} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid or UNPRIVILEGED} {gid} 1")
    elif uid == 0:
        why = os.strerror(ctypes.get_errno())
        raise MakingError(
            "PostgreSQL does not run as root, and there is no user namespace to be somebody else "
            f"in ({why}). Run as another user, or allow them: sysctl user.max_user_namespaces."
        )


def say(what: str) -> None:
    """A line in the node's log."""
    sys.stderr.write(f"node: {what}\n")
    sys.stderr.flush()


def main(arguments: Sequence[str]) -> int:
    program, settings = arguments
    found = shutil.which(program)
    try:
        if found is None:
            raise MakingError(f"there is no program {program}")
        isolate()
        # initdb is beside the program itself, not beside a link to it.
        server = Server(Path(found).resolve(), Path.cwd(), Settings.from_json(_text(settings)))
        if not server.made:
            server.make()
        return server.run()
    except (MakingError, BusyError, OSError) as error:
        say(str(error))
        return 1


def _text(path: str) -> str:
    return Path(path).read_text("utf-8")


def _quoted(value: str) -> str:
    """As postgresql.conf takes any value."""
    return "'" + value.replace("'", "''") + "'"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
