"""A tiny server that plays a node, how to talk to it, and how to wait for things without sleeping.

Run as a script, `nodes.py ADDRESS PORT`, it answers one line with one line:

    resolve NAME     the address that NAME has for this process
    env NAME         an environment variable
    where            its process id and working directory
    write TEXT       append a line to the file `data` in the working directory
    read             that file's lines, joined by commas
    spawn KIND       a child process, whose id is the answer: `plain`, or `daemon`: orphaned, in a
                     session of its own, with an empty environment
    exit STATUS      end at once

Other first arguments make bad nodes: `--silent` listens nowhere, `--exit` ends after printing 30
lines, `--deaf` serves but ignores SIGTERM.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.runtime import NodeSpec, Runtime

PORT = 7000


def wait_until(condition: Callable[[], Any], timeout_s: float = 10.0) -> Any:
    """The first true answer of `condition`; fails the test after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {condition}"
        time.sleep(0.01)
    return answer


def ask(address: str, question: str, port: int = PORT, timeout_s: float = 5.0) -> str:
    """The answer of the node that listens at `address`."""
    with socket.create_connection((address, port), timeout_s) as connection:
        connection.sendall(question.encode() + b"\n")
        with connection.makefile("r") as answers:
            return answers.readline().rstrip("\n")


def node_spec(
    runtime: Runtime, name: str, flags: Sequence[str] = (), bind: str | None = None, **more: Any
) -> NodeSpec:
    """A node that runs this file. `bind` overrides the address that it listens at."""
    from harness.runtime import NodeSpec

    address = runtime.address(name)

    async def ready() -> bool:
        import asyncio

        _reader, writer = await asyncio.open_connection(address, PORT)
        writer.close()
        await writer.wait_closed()
        return True

    python = [sys.executable, "-S", "-E"]
    options: dict[str, Any] = {
        "argv": [*python, str(Path(__file__)), *flags, bind or address, str(PORT)],
        "ports": {"lines": PORT},
        "ready": ready,
        "ready_timeout_s": 10.0,
    }
    return NodeSpec(name=name, **{**options, **more})


def main(arguments: list[str]) -> None:
    """Serve until killed."""
    if "--exit" in arguments:
        sys.stdout.writelines(f"line {number}\n" for number in range(1, 31))
        sys.exit(7)
    if "--deaf" in arguments:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "--silent" in arguments:
        signal.pause()
    address, port = arguments[-2:]
    with socket.create_server((address, int(port))) as server:
        sys.stdout.write(f"serving on {address}:{port}\n")
        sys.stdout.flush()
        while True:
            connection, _ = server.accept()
            with connection, connection.makefile("rw") as lines:
                for line in lines:
                    lines.write(_answer(line.strip()) + "\n")
                    lines.flush()


def _answer(line: str) -> str:
    what, _, argument = line.partition(" ")
    if what == "resolve":
        return socket.gethostbyname(argument)
    if what == "env":
        return os.environ.get(argument, "")
    if what == "where":
        return f"{os.getpid()} {Path.cwd()}"
    if what == "write":
        with Path("data").open("a") as file:
            file.write(argument + "\n")
        return "ok"
    if what == "read":
        return Path("data").read_text().strip().replace("\n", ",")
    if what == "spawn":
        return str(_spawn(daemon=argument == "daemon"))
    if what == "exit":
        os._exit(int(argument))
    return f"what is {what!r}?"


def _spawn(daemon: bool) -> int:
    sleeper = [sys.executable, "-S", "-E", "-c", "import signal; signal.pause()"]
    if not daemon:
        return subprocess.Popen(sleeper).pid
    # The shell starts it in the background and ends, so that it is nobody's child.
    started = subprocess.run(
        ["sh", "-c", 'setsid env -i "$@" >/dev/null 2>&1 & echo $!', "sh", *sleeper],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(started.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
