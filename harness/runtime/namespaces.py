"""A private hosts file for each node: what a name means depends on who asks (D1).

A node starts in a mount namespace of its own in which its hosts file is bound over /etc/hosts.
The command that arranges it becomes the server by exec, so that the process started is the server.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_PROBE_TIMEOUT_S = 10.0

_BIND = 'mount --bind "$0" /etc/hosts && exec "$@"'

_PROBE_LINE = "127.0.0.1 harness-namespace-probe"


@dataclass(frozen=True)
class Support:
    """Whether nodes can have hosts files of their own here, by which means, and why (not)."""

    kind: Literal["root", "user", "none"]
    reason: str


@functools.cache
def namespaces() -> Support:
    """Find out by trying, once per process. Takes about 10 ms."""
    missing = [tool for tool in ("unshare", "mount", "sh") if shutil.which(tool) is None]
    if missing:
        return Support("none", f"{' and '.join(missing)} not found; util-linux has them.")
    if os.geteuid() == 0 and (refused := _try("root")) is None:
        return Support("root", "mount namespaces work as root.")
    if (refused := _try("user")) is None:
        return Support("user", "mount namespaces work inside a user namespace, without root.")
    return Support(
        "none",
        f"the kernel refuses mount namespaces ({refused}). Run as root, or allow user namespaces: "
        "sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone=1 (Debian), "
        "kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu).",
    )


def wrap(
    kind: Literal["root", "user", "none"], argv: Sequence[str], hosts: Path, uid: int, gid: int
) -> list[str]:
    """The command that runs `argv` with `hosts` as its hosts file, as user `uid` and group `gid`.

    Binding needs to be root in the namespace; without root the server gets its own user back from
    a second user namespace inside the first.
    """
    if kind == "root":
        # slave: what the machine unmounts later is not held by a cluster that was kept.
        enter = ["unshare", "--mount", "--propagation", "slave"]
        return [*enter, "sh", "-c", _BIND, str(hosts), *argv]
    if kind == "user":
        enter = ["unshare", "--user", "--map-root-user", "--mount", "--propagation", "slave"]
        back = ["unshare", "--user", f"--map-user={uid}", f"--map-group={gid}", "--"]
        return [*enter, "sh", "-c", _BIND, str(hosts), *back, *argv]
    return list(argv)


def hosts_text(names: Mapping[str, str], machine: str) -> str:
    """A hosts file: `names` (name → address), then the machine's own lines about other names."""
    lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in names.items())]
    for line in machine.splitlines():
        words = line.partition("#")[0].split()
        others = [word for word in words[1:] if word not in names]
        if others and words[1:] != ["localhost"]:
            lines.append(" ".join([words[0], *others]))
    return "\n".join(lines) + "\n"


def _try(kind: Literal["root", "user"]) -> str | None:
    """None if it works, otherwise what was said."""
    with tempfile.NamedTemporaryFile("w", prefix="harness-hosts-") as hosts:
        hosts.write(_PROBE_LINE + "\n")
        hosts.flush()
        show = ["cat", "/etc/hosts"]
        command = wrap(kind, show, Path(hosts.name), os.geteuid(), os.getegid())
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_PROBE_TIMEOUT_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
    if done.returncode == 0 and _PROBE_LINE in done.stdout:
        return None
    return done.stderr.strip().replace("\n", "; ") or f"exit status {done.returncode}"
