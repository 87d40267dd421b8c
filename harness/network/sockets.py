"""Toxiproxy's connections, as the kernel has them, and reset where Toxiproxy itself cannot.

Toxiproxy ends connections with end of file only, and it hangs for good if a toxic is added or
removed while a connection's receiver does not read. Both are helped by resetting a connection
under its hands: the harness borrows the socket from the process (`pidfd_getfd`, Linux 5.6, same
user) and disconnects it (`connect` to AF_UNSPEC, which sends RST). Linux only; where it is not
allowed, `borrowable` says so and callers do without.

The kernel is asked over netlink (sock_diag(7)), which took 0.2 ms where reading /proc/net/tcp took
7 ms (the same hash table, but no text and no sockets in TIME_WAIT); /proc is the second best.

`near` names a process whose network is looked at (that of a container): for netlink a thread enters
its namespace, which root may do; /proc/<pid>/net is what others have.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from harness.runtime.spec import Address

_ESTABLISHED, _DIALLING, _CLOSE_WAIT, _LISTENING = 1, 2, 8, 10
_PROBING = 4  # the timer that runs while the receiver's window is zero

_CLONE_NEWNET = 0x40000000
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x301
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_NETLINK_TIMEOUT_S = 2.0
_NETLINK_BYTES = 1 << 18

_PIDFD_GETFD = 438  # the same number on every architecture
_UNSPECIFIED = bytes(16)  # a sockaddr of the family AF_UNSPEC


class Connection(NamedTuple):
    """One end of a connection, or a socket that listens.

    `queued_bytes` is what the other end has not acknowledged; `stalled` that it does not read.
    """

    local: Address
    remote: Address
    inode: int
    queued_bytes: int
    stalled: bool


def connections(near: int | None = None) -> list[Connection]:
    """All open IPv4 connections of this network namespace (or of the one that process `near` is
    in), both ends of each. Empty where there is neither netlink nor /proc. O(sockets of the
    machine)."""
    return _sockets_in(near, _ESTABLISHED, _CLOSE_WAIT)


def dials(near: int | None = None) -> list[Connection]:
    """All attempts to open a connection that the other side has not answered."""
    return _sockets_in(near, _DIALLING)


def listening_process(address: Address) -> int | None:
    """The process that listens on exactly `address`, or None if it cannot be seen."""
    inode = next((s.inode for s in _sockets_in(None, _LISTENING) if s.local == address), None)
    if inode is None:
        return None
    with os.scandir("/proc") as entries:
        pids = [int(entry.name) for entry in entries if entry.name.isdigit()]
    return next((pid for pid in pids if _descriptors(pid, {inode})), None)


def borrowable(pid: int) -> bool:
    """Whether sockets of `pid` can be reset by this process."""
    try:
        with _Borrower(pid) as borrower:
            return any(borrower.can_borrow(number) for number, _ in _sockets(pid))
    except OSError:
        return False


def owned(pid: int, inodes: Collection[int]) -> set[int]:
    """Those of the sockets that `pid` has open."""
    return set(_descriptors(pid, inodes))


def reset(pid: int, inodes: Collection[int]) -> int:
    """Reset those of the sockets that are open in `pid`; how many there were."""
    if not inodes:
        return 0
    try:
        with _Borrower(pid) as borrower:
            found = _descriptors(pid, inodes)
            return sum(borrower.disconnect(number, inode) for inode, number in found.items())
    except OSError:
        return 0  # the process has ended, and all its connections with it


class _Borrower:
    """Another process whose descriptors are duplicated into ours."""

    def __init__(self, pid: int) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._pidfd = os.pidfd_open(pid)

    def __enter__(self) -> _Borrower:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._pidfd)

    def can_borrow(self, number: int) -> bool:
        copy = self._borrow(number)
        if copy is not None:
            os.close(copy)
        return copy is not None

    def disconnect(self, number: int, inode: int) -> bool:
        copy = self._borrow(number)
        if copy is None:
            return False
        try:
            # The number may have been given to another socket meanwhile.
            same = os.fstat(copy).st_ino == inode
            return same and self._libc.connect(copy, _UNSPECIFIED, len(_UNSPECIFIED)) == 0
        finally:
            os.close(copy)

    def _borrow(self, number: int) -> int | None:
        copy = int(self._libc.syscall(_PIDFD_GETFD, self._pidfd, number, 0))
        return None if copy < 0 else copy


def _sockets_in(near: int | None, *states: int) -> list[Connection]:
    try:
        return list(_from_netlink(near, states))
    except (OSError, AttributeError):
        return list(_from_proc(near, states))


def _netlink(near: int | None) -> socket.socket:
    """A netlink socket in the network of `near`. A socket stays in the namespace that the thread
    which made it was in, so that a thread of its own enters it and ends."""
    if near is None or _same_network(near):
        return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
    made: list[socket.socket | OSError] = []

    def make() -> None:
        try:
            space = os.open(f"/proc/{near}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(space, _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns is refused")
            finally:
                os.close(space)
            made.append(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG))
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=make, name="harness-network-space", daemon=True)
    thread.start()
    thread.join()
    (one,) = made
    if isinstance(one, OSError):
        raise one
    return one


def _same_network(pid: int) -> bool:
    return os.stat(f"/proc/{pid}/ns/net") == os.stat("/proc/self/ns/net")  # noqa: PTH116


def _from_netlink(near: int | None, states: Collection[int]) -> Iterator[Connection]:
    mask = sum(1 << state for state in states)
    # struct inet_diag_req_v2: family, protocol, extensions, padding, states, and no socket's id.
    request = struct.pack("=BBBxI48x", socket.AF_INET, socket.IPPROTO_TCP, 0, mask)
    head = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0)
    with _netlink(near) as netlink:
        netlink.settimeout(_NETLINK_TIMEOUT_S)
        netlink.send(head + request)
        while True:
            data = netlink.recv(_NETLINK_BYTES)
            offset = 0
            while offset < len(data):
                length, kind, *_ = _HEADER.unpack_from(data, offset)
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    raise OSError("sock_diag is not to be had")
                yield _from_diag(data[offset + _HEADER.size : offset + length])
                offset += (length + 3) & ~3


def _from_diag(message: bytes) -> Connection:
    """From a struct inet_diag_msg: family, state, timer, retransmissions (a byte each), ports and
    addresses, interface, cookie, then expiry, both queues, user and inode."""
    source_port, target_port = struct.unpack_from(">HH", message, 4)
    queued_bytes, _user, inode = struct.unpack_from("=III", message, 60)
    return Connection(
        local=(socket.inet_ntoa(message[8:12]), source_port),
        remote=(socket.inet_ntoa(message[24:28]), target_port),
        inode=inode,
        queued_bytes=queued_bytes,
        stalled=message[2] == _PROBING,
    )


def _from_proc(near: int | None, states: Collection[int]) -> Iterator[Connection]:
    try:
        lines = Path(f"/proc/{near or 'self'}/net/tcp").read_text().splitlines()
    except OSError:
        return
    for line in lines[1:]:
        fields = line.split()
        if int(fields[3], 16) in states:
            yield Connection(
                local=_from_hex(fields[1]),
                remote=_from_hex(fields[2]),
                inode=int(fields[9]),
                queued_bytes=int(fields[4].partition(":")[0], 16),
                stalled=int(fields[5].partition(":")[0], 16) == _PROBING,
            )


def _from_hex(text: str) -> Address:
    host, _, port = text.partition(":")
    return socket.inet_ntoa(int(host, 16).to_bytes(4, sys.byteorder)), int(port, 16)


def _descriptors(pid: int, inodes: Collection[int]) -> dict[int, int]:
    return {inode: number for number, inode in _sockets(pid) if inode in inodes}


def _sockets(pid: int) -> Iterator[tuple[int, int]]:
    """Number and inode of each socket that `pid` has open; none if it is not ours to see."""
    try:
        with os.scandir(f"/proc/{pid}/fd") as folder:
            entries = list(folder)
    except OSError:
        return  # it has ended, or is another user's
    for entry in entries:
        try:
            target = os.readlink(entry.path)  # noqa: PTH115  much faster than Path
        except OSError:
            continue  # closed meanwhile
        if target.startswith("socket:["):
            yield int(entry.name), int(target[8:-1])
