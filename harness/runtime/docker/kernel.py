"""What the kernel under a local engine can do to packets, found by looking at it."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

NETEM = ("CONFIG_NET_SCH_NETEM", "sch_netem")
"""Delay, loss and reordering of packets by `tc`."""

STATISTIC = ("CONFIG_NETFILTER_XT_MATCH_STATISTIC", "xt_statistic")
"""A rule of iptables that matches a share of all packets: packet loss."""

NFT_COMPAT = ("CONFIG_NFT_COMPAT", "nft_compat")
"""Such matches in the iptables of our base image, which writes nftables."""

_CONFIG_BYTES = 4 * 1024 * 1024


def kernel_has(option: str, module: str, root: Path = Path("/")) -> bool | None:
    """Whether this machine's kernel has a part: `option` is its name in the configuration. None if
    the machine does not tell."""
    release = os.uname().release
    if (root / "sys/module" / module).exists():
        return True
    modules = root / "lib/modules" / release
    listed = [_read(modules / name) for name in ("modules.builtin", "modules.dep")]
    if any(f"/{module}.ko" in text for text in listed if text is not None):
        return True
    config = _read(root / "proc/config.gz") or _read(root / "boot" / f"config-{release}")
    if config is not None:
        # What is not built in is a module, and that would have been listed.
        if f"\n{option}=m" in config:
            return None if listed == [None, None] else False
        return f"\n{option}=y" in config
    return None if listed == [None, None] else False


def packet_loss() -> bool | None:
    """Whether packets can be lost at random in containers of this machine; None if unknown."""
    found = {kernel_has(*part) for part in (STATISTIC, NFT_COMPAT)}
    if False in found:
        return False
    return None if None in found else True


def _read(path: Path) -> str | None:
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError):
        return None
    return "\n" + data[:_CONFIG_BYTES].decode(errors="replace")
