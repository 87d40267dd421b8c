"""Where a host name leads, read from the hosts file.

asyncio asks the system's resolver in a thread, which a node must not have. Nodes know each other
from their hosts files anyway, and what stands there may change while they run.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path

HOSTS = Path("/etc/hosts")


def address_of(host: str, hosts: Path = HOSTS) -> str:
    """The IPv4 address of a name of the hosts file (the first, as resolvers do); an address is its
    own. Raises `OSError` if there is none."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    for line in hosts.read_text().splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if host in names and ":" not in address:
            return address
    raise OSError(f"{hosts} does not name {host}: add a line with its address")
