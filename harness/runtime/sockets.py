"""Who listens where."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import NamedTuple

from harness.errors import BrokenError

_LISTENING = "0A"


class Listener(NamedTuple):
    """A listening TCP socket; `inode` is what the descriptors of its owners point at."""

    address: IPv4Address | IPv6Address
    port: int
    inode: str


def listeners() -> list[Listener]:
    """All listening TCP sockets of this network namespace, from /proc/net. Takes the kernel some
    10 ms, for it walks its table of connections, however empty."""
    found = []
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue  # no IPv6 here
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTENING:
                address, _, port = fields[1].partition(":")
                found.append(Listener(_address(address), int(port, 16), fields[9]))
    return found


def any_wildcard(unused: str, ports: Collection[int]) -> bool:
    """Whether any socket listens on one of `ports` at every address, `unused` being a loopback
    address at which nobody listens. Costs microseconds: nothing is read, only bound."""
    return any(_refused(unused, port) == errno.EADDRINUSE for port in ports)


def wildcard_listener(pids: Collection[int], ports: Collection[int]) -> Listener | None:
    """A socket of one of `pids` that listens on one of `ports` at every address."""
    suspects = {
        listener.inode: listener
        for listener in listeners()
        if listener.port in ports and listener.address.is_unspecified
    }
    return next((suspects[i] for pid in pids for i in _inodes(pid) if i in suspects), None)


def require_free(node: str, address: str, ports: Collection[int]) -> None:
    """Raise `BrokenError` if a server could not listen on one of `ports` at `address` now."""
    for port in ports:
        if refused := _refused(address, port):
            raise BrokenError(
                f"{node} cannot listen on {address}:{port}.",
                why=f"{os.strerror(refused)}.",
                do=f"See who has the port with `ss -ltnp 'sport = :{port}'`; a server that "
                "listens on every address (0.0.0.0 or [::]) takes it from all nodes.",
            )


def _refused(address: str, port: int) -> int:
    """The error number with which the kernel refuses to bind there, 0 if it does not."""
    with socket.socket() as probe:
        # As servers do: what the last one's connections left behind must not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            return error.errno or errno.EINVAL
    return 0


def _address(text: str) -> IPv4Address | IPv6Address:
    """From the kernel's form: words of four bytes, each in the machine's byte order."""
    words = (text[start : start + 8] for start in range(0, len(text), 8))
    data = b"".join(socket.htonl(int(word, 16)).to_bytes(4, "big") for word in words)
    return IPv4Address(data) if len(data) == 4 else IPv6Address(data)


def _inodes(pid: int) -> set[str]:
    """The inodes of the sockets that `pid` has open; empty if it has gone."""
    found = set()
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                target = os.readlink(entry.path)  # noqa: PTH115 - thousands of them
                if target.startswith("socket:["):
                    found.add(target[8:-1])
    except OSError:
        pass
    return found
