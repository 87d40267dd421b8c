"""Packets dropped in the networks of nodes, and names that do not resolve there.

Every holder has chains of its own, so that taking away one never takes away another's. What is held
is written down: a node that is started again has a new network, in which all of it is put back.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from harness.errors import BrokenError
from harness.runtime.docker.containers import Containers
from harness.runtime.docker.helpers import Helpers, NodeDownError
from harness.runtime.spec import TOXIPROXY_NODE, Address

RESOLVER = "127.0.0.11"
"""Where the engine answers questions for names, in every container's own network."""

TRY = """
set -e
iptables -N t; iptables -A t -s 192.0.2.1 -j DROP; iptables -A OUTPUT -j t
iptables -A OUTPUT -d 192.0.2.2 -j REJECT
"""
"""Fails where packets cannot be dropped."""

TRY_LOSS = TRY + "iptables -A t -m statistic --mode nth --every 10 --packet 0 -j DROP\n"
"""Fails where a share of the packets cannot be dropped."""

_CONNECT = """
import json, select, socket, sys, time
targets, timeout = json.loads(sys.argv[1]), float(sys.argv[2])
waiting, said = {}, ["silent"] * len(targets)
for number, (host, port) in enumerate(targets):
    one = socket.socket()
    one.setblocking(False)
    one.connect_ex((host, port))
    waiting[one] = number
end = time.monotonic() + timeout
while waiting and (rest := end - time.monotonic()) > 0:
    for one in select.select([], list(waiting), [], rest)[1]:
        error = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        said[waiting.pop(one)] = "refused" if error else "open"
print(json.dumps(said))
"""

_SEND = """
import socket, sys
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(int(sys.argv[2])):
    try:
        one.sendto(b"harness", (sys.argv[1], 9))
    except OSError:
        pass  # the other side says that nobody listens
"""

_STRIP = """
import os, sys
if not os.path.exists("/tmp/hosts"):
    open("/tmp/hosts", "w").write(open("/etc/hosts").read())
def keep(line):
    words = line.split("#")[0].split()
    return not words or ":" in words[0] or words[0].startswith("127.") or words[0] == sys.argv[1]
kept = [line for line in open("/tmp/hosts") if keep(line)]
open("/etc/hosts", "w").writelines(kept)
"""

_GIVE_BACK = "[ ! -e /tmp/hosts ] || cat /tmp/hosts > /etc/hosts"


@dataclass(frozen=True)
class Rule:
    """What becomes of packets: of those that come in (`INPUT`) or go out (`OUTPUT`) and match."""

    hook: str
    match: tuple[str, ...]
    target: str = "DROP"


class Packets:
    """What holders do to the networks of a cluster's nodes. Methods wait for the engine, some 0.1 s
    each, all nodes at the same time, and raise `BrokenError`."""

    def __init__(self, own: Containers, helpers: Helpers) -> None:
        self._own = own
        self._helpers = helpers
        self._held: dict[str, dict[str, tuple[Rule, ...]]] = {}
        self._nameless: dict[str, set[str]] = {}
        self._locks: dict[str, threading.RLock] = {}
        self._guard = threading.Lock()

    # What is held

    def cut(self, holder: str, pairs: Collection[tuple[str, str]]) -> None:
        """Drop everything between the two nodes of each pair, in both directions and on every way:
        to the other's own address, and through the links to it.

        What goes through links is dropped in Toxiproxy's network, so that a node that is started
        again comes back cut off. What was sent past them can reach it until its own rules are put
        back, and none of its answers.
        """
        rules: dict[str, list[Rule]] = {}
        subnet = self._own.subnet
        for pair in pairs:
            for one, other in (pair, pair[::-1]):
                link, here = subnet.link_address(one, other), subnet.address(one)
                # Not on their way out: a program that sends a datagram would be told.
                for there in (subnet.address(other), link):
                    rules.setdefault(one, []).append(Rule("INPUT", ("-s", there)))
                between = rules.setdefault(TOXIPROXY_NODE, [])
                between.append(Rule("INPUT", ("-s", here, "-d", link)))
                between.append(Rule("OUTPUT", ("-s", link, "-d", here)))
        self._hold(holder, rules)

    def lose(self, holder: str, nodes: Iterable[str], one_in: int) -> None:
        """Drop every `one_in`-th packet that a node gets from its cluster, and of those that it
        sends through links: where they arrive, so that the sender's kernel knows of nothing."""
        share = ("-m", "statistic", "--mode", "nth", "--every", str(one_in), "--packet", "0")
        subnet = self._own.subnet
        chosen = list(nodes)
        rules = {node: [Rule("INPUT", ("-s", subnet.cidr, *share))] for node in chosen}
        sent = [Rule("INPUT", ("-s", subnet.address(node), *share)) for node in chosen]
        self._hold(holder, {**rules, TOXIPROXY_NODE: sent})

    def hide_names(self, holder: str, nodes: Iterable[str], target: str) -> None:
        """Let no name resolve in the nodes but their own: not by the hosts file, and not by the
        engine's resolver, of whose packets `target` (`DROP`, `REJECT`) is what becomes."""
        # One that is dropped on its way out is an error to its sender, and no silence.
        rule = Rule("OUTPUT" if target == "REJECT" else "INPUT", ("-d", RESOLVER), target)
        chosen = list(nodes)
        with self._guard:
            for node in chosen:
                self._nameless.setdefault(node, set()).add(holder)
        self._hold(holder, {node: [rule] for node in chosen})

    def release(self, holder: str) -> None:
        """Undo what `holder` holds. May be called again."""
        with self._guard:
            nodes = [node for node, held in self._held.items() if holder in held]
        self._everywhere(nodes, lambda node: self._drop(node, holder))

    def started(self, node: str) -> None:
        """A node has a new network: put everything back in it."""
        with self._lock(node):
            held = self._held.get(node, {})
            if not held:
                return
            try:
                for holder in held:
                    self._apply(node, holder)
                self._write_names(node)
            except NodeDownError:
                pass  # it ended at once

    def cut_by_others(self, holder: str, node: str, address: str) -> bool:
        """Whether others than `holder` let nothing through between a node and an address."""
        return any(
            rule.match == ("-s", address)
            for other, rules in self._held.get(node, {}).items()
            if other != holder
            for rule in rules
        )

    # Looking

    def connect(
        self, node: str, targets: Sequence[Address], timeout_s: float
    ) -> dict[Address, str]:
        """What becomes of connections from the node's network: `open`, `refused` or `silent`.
        Nothing is said if the node is down."""
        try:
            id = self._beside(node)
        except NodeDownError:
            return {}
        said = self._helpers.python(id, _CONNECT, json.dumps(targets), str(timeout_s))
        return dict(zip(targets, json.loads(said), strict=True))

    def send(self, node: str, count: int) -> None:
        """Send so many datagrams, of which nobody takes notice, from the node's network to
        Toxiproxy's and back. Nothing is sent if the node is down."""
        subnet = self._own.subnet
        try:
            self._helpers.python(self._beside(node), _SEND, subnet.toxiproxy, str(count))
        except NodeDownError:
            return
        beside = self._beside(TOXIPROXY_NODE)
        self._helpers.python(beside, _SEND, subnet.address(node), str(count))

    def lost(self, node: str, holder: str) -> tuple[int, int] | None:
        """How many packets to the node, and from it, were dropped for `holder`; None if there is no
        rule, or the node is down."""
        subnet = self._own.subnet
        try:
            to = self._dropped(node, holder, subnet.cidr)
            back = self._dropped(TOXIPROXY_NODE, holder, subnet.address(node))
        except NodeDownError:
            return None
        return None if to is None or back is None else (to, back)

    def _dropped(self, node: str, holder: str, source: str) -> int | None:
        chain = _chain(holder, "INPUT")
        script = f"iptables -w -C INPUT -j {chain} && iptables -w -vnxL {chain}"
        status, said = self._helpers.run(self._beside(node), ["sh", "-c", script])
        rows = [line.split() for line in said.splitlines()]
        counts = [int(row[0]) for row in rows if row and row[0].isdigit() and source in row]
        return sum(counts) if counts and not status else None

    def resolves(self, node: str, name: str, timeout_s: float) -> bool:
        """Whether a name means something in the node."""
        wanted = ["timeout", str(timeout_s), "getent", "ahostsv4", name]
        return self._helpers.run(self._beside(node), wanted)[0] == 0

    def nameless(self, node: str) -> bool:
        """Whether anybody wants the node to know no names."""
        return bool(self._nameless.get(node))

    def leftovers(self, holder: str, nodes: Iterable[str]) -> dict[str, str]:
        """The rules of `holder` that are in the nodes' networks: none, once it has let go."""
        left = {}

        def look(node: str) -> None:
            try:
                _, said = self._helpers.run(self._beside(node), ["iptables", "-w", "-S"])
            except NodeDownError:
                return
            mine = [line for line in said.splitlines() if _chain(holder, "")[:-1] in line]
            if mine:
                left[node] = "; ".join(mine)

        self._everywhere(list(nodes), look)
        return left

    # How it is done

    def _hold(self, holder: str, rules: Mapping[str, Sequence[Rule]]) -> None:
        def hold(node: str) -> None:
            with self._lock(node):
                self._held.setdefault(node, {})[holder] = tuple(rules[node])
                try:
                    self._apply(node, holder)
                    self._write_names(node)
                except NodeDownError:
                    pass  # it gets its rules when it is started

        self._everywhere(list(rules), hold)

    def _drop(self, node: str, holder: str) -> None:
        with self._lock(node):
            try:
                self._helpers.shell(self._beside(node), _undo(holder))
                self._nameless.get(node, set()).discard(holder)
                self._write_names(node)
            except NodeDownError:
                pass  # its network went with it
            self._nameless.get(node, set()).discard(holder)
            self._held[node].pop(holder, None)

    def _apply(self, node: str, holder: str) -> None:
        script = [_undo(holder), "set -e"]
        rules = self._held[node][holder]
        for hook in sorted({rule.hook for rule in rules}):
            chain = _chain(holder, hook)
            script.append(f"iptables -w -N {chain}")
            for rule in rules:
                if rule.hook == hook:
                    words = shlex.join((*rule.match, "-j", rule.target))
                    script.append(f"iptables -w -A {chain} {words}")
            script.append(f"iptables -w -A {hook} -j {chain}")
        self._helpers.shell(self._beside(node), "\n".join(script))

    def _write_names(self, node: str) -> None:
        if node not in self._nameless:
            return
        id = self._beside(node)
        if self._nameless[node]:
            self._helpers.python(id, _STRIP, self._own.subnet.address(node))
        else:
            self._helpers.shell(id, _GIVE_BACK)

    def _beside(self, node: str) -> str:
        found = self._own.nodes.get(node)
        if found is None:
            raise NodeDownError(f"{node} was never started.")
        return self._helpers.beside(found)

    def _lock(self, node: str) -> threading.RLock:
        with self._guard:
            return self._locks.setdefault(node, threading.RLock())

    def _everywhere(self, nodes: Sequence[str], work: Callable[[str], None]) -> None:
        """Do `work` on all nodes at the same time, then raise the first error."""
        if not nodes:
            return
        errors = []

        def one(node: str) -> None:
            try:
                work(node)
            except BrokenError as error:
                errors.append(error)

        with ThreadPoolExecutor(min(8, len(nodes))) as threads:
            list(threads.map(one, nodes))
        if errors:
            raise errors[0]


def _chain(holder: str, hook: str) -> str:
    name = hashlib.sha256(holder.encode()).hexdigest()[:12]
    return f"harness-{name}-{hook[:1].lower()}"


def _undo(holder: str) -> str:
    lines = []
    for hook in ("INPUT", "OUTPUT"):
        chain = _chain(holder, hook)
        lines.append(f"while iptables -w -D {hook} -j {chain} 2>/dev/null; do :; done")
        lines.append(f"iptables -w -F {chain} 2>/dev/null; iptables -w -X {chain} 2>/dev/null")
    return "\n".join([*lines, "true"])
