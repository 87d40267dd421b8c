"""A map in which adding wins over a concurrent removal, replicated by deltas.

Every value is stored under the dot of the event that added it. The map's context holds all dots it
ever saw. A dot in the context without a value was removed; that is all there is to a removal, so no
tombstones are kept. Merging keeps a value if both sides have it, or if one has it and the other has
never seen its dot: so an `add` concurrent with a `remove` stays, and so do two concurrent `put`s of
one key, both visible until somebody decides between them.

Source: Almeida, Shoker, Baquero, "Delta state replicated data types" (2018), section 7 (ORMap and
AWORSet with causal contexts, optimized as in ORSWOT: Bieniusa et al., "An optimized conflict-free
replicated set", 2012). Contexts of deltas may have holes, so deltas may be lost, repeated and
reordered, and whatever arrives merges right.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import orjson

from .dots import Dot, Dots

Key: TypeAlias = str | tuple[str, ...]
"""A name, or several that belong together, as `("room:1", "ada")`."""

Entries: TypeAlias = dict[Key, dict[Dot, Any]]

VALUE_BYTES = 64 * 1024
"""The longest key and value, as JSON: several must fit into one message."""


def replica_id(name: str, incarnation: int) -> str:
    """Of one start of a node. Later starts have greater incarnations."""
    return f"{name}#{incarnation}"


def parse_replica(replica: str) -> tuple[str, int]:
    """Name and incarnation of a `replica_id`; raises `ValueError` if it is not one."""
    name, mark, incarnation = replica.rpartition("#")
    if not mark:
        raise ValueError(f"{replica!r} is not a replica: name#incarnation, as replica_id makes it")
    return name, int(incarnation)


@dataclass
class Delta:
    """A part of a map's state: values, and the dots that the part speaks about.

    Dots of `context` that have no value in `entries` were removed. `keys` are those whose values
    changed where the delta was made; they do not travel.
    """

    entries: Entries = field(default_factory=dict)
    context: Dots = field(default_factory=Dots)
    keys: frozenset[Key] = field(default=frozenset(), compare=False)

    def __bool__(self) -> bool:
        return bool(self.context)

    def merge(self, other: Delta) -> None:
        """Take in another delta, so that one message does for both."""
        alive = {dot for dots in other.entries.values() for dot in dots}
        for dots in self.entries.values():
            for dot in [dot for dot in dots if dot in other.context and dot not in alive]:
                del dots[dot]
        for key, dots in other.entries.items():
            for dot, value in dots.items():
                if dot not in self.context:
                    self.entries.setdefault(key, {})[dot] = value
        self.context.update(other.context)
        self.keys |= other.keys
        for key in [key for key, dots in self.entries.items() if not dots]:
            del self.entries[key]

    def to_json(self) -> dict[str, Any]:
        return {
            "entries": [
                [list(key) if isinstance(key, tuple) else key, [[*dot, value]]]
                for key, dots in self.entries.items()
                for dot, value in dots.items()
            ],
            "context": self.context.to_json(),
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Delta:
        """Raises `ValueError`, `TypeError` or `KeyError` if it is not what `to_json` gives."""
        entries: Entries = {}
        context = Dots.from_json(body["context"])
        for key, dots in body["entries"]:
            for replica, n, value in dots:
                if (replica, n) not in context:
                    raise ValueError(f"the value of {key!r} has a dot outside the delta's context")
                entries.setdefault(_key(key), {})[replica, n] = value
        return cls(entries, context)


class AWMap:
    """The map of one replica. Each mutation changes it and returns the delta to send to others.

    `replica` is unique for each start of a process (see `replica_id`): a process that restarts
    without memory and went on counting from 1 would give the same dots to other events.
    """

    def __init__(self, replica: str) -> None:
        self.replica = replica
        self._entries: Entries = {}
        self._context = Dots()
        self._keys: dict[str, dict[int, Key]] = {}  # Of living dots: replica → n → key.
        self._fingerprint = 0

    # Reading.

    def __len__(self) -> int:
        """How many keys have a value."""
        return len(self._entries)

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[Key]:
        return iter(self._entries)

    def keys(self) -> frozenset[Key]:
        return frozenset(self._entries)

    def get(self, key: Key) -> dict[Dot, Any]:
        """The values of a key by their dots: more than one if they were added concurrently."""
        return dict(self._entries.get(key, {}))

    @property
    def context(self) -> Dots:
        """Every dot ever seen. Not to be changed."""
        return self._context

    @property
    def replicas(self) -> frozenset[str]:
        """Those that have values here."""
        return frozenset(self._keys)

    def keys_of(self, replica: str) -> frozenset[Key]:
        """Keys that hold a value added by this replica."""
        return frozenset(self._keys.get(replica, {}).values())

    @property
    def fingerprint(self) -> int:
        """64 bits that depend on nothing but which dots live: equal for equal maps."""
        return self._fingerprint

    def living(self) -> Dots:
        """The dots that have a value."""
        dots = Dots()
        for replica, keys in self._keys.items():
            for n in sorted(keys):
                dots.add((replica, n))
        return dots

    # Changing.

    def put(self, key: Key, value: Any) -> Delta:
        """Make `value` the only one of the key, in place of those seen here."""
        return self._change(key, [*self._entries.get(key, {})], [value])

    def add(self, key: Key, value: Any) -> Delta:
        """Add a value beside those the key has."""
        return self._change(key, [], [value])

    def remove(self, key: Key) -> Delta:
        """Remove all values of the key that were seen here; concurrent ones stay."""
        return self._change(key, [*self._entries.get(key, {})], [])

    def discard(self, key: Key, dots: Iterable[Dot]) -> Delta:
        """Remove some values of the key."""
        held = self._entries.get(key, {})
        return self._change(key, [dot for dot in dots if dot in held], [])

    def drop_replica(self, replica: str) -> Delta:
        """Remove everything that a replica added, as seen here.

        The removal reaches everybody, the replica itself too if it still lives. So it is for
        replicas that cannot come back (an older incarnation); `View` only hides.
        """
        gone = Delta(context=Dots((replica, n) for n in sorted(self._keys.get(replica, {}))))
        gone.keys = self.merge(gone)
        return gone

    def merge(self, delta: Delta) -> frozenset[Key]:
        """Take in a delta; gives the keys whose values changed. Twice does no harm."""
        changed: set[Key] = set()
        arriving = {
            dot: (key, value) for key, dots in delta.entries.items() for dot, value in dots.items()
        }
        for dot in self._touched(delta.context):
            if dot not in arriving:
                changed.add(self._forget(dot))
        for dot, (key, value) in arriving.items():
            if dot not in self._context:
                self._keep(key, dot, value)
                changed.add(key)
        self._context.update(delta.context)
        return frozenset(changed)

    def state(self) -> Delta:
        """All of it, as one delta."""
        return Delta({key: dict(dots) for key, dots in self._entries.items()}, self._context.copy())

    def part(self, dots: Iterable[Dot]) -> Delta:
        """A delta with the values of these living dots, which speaks about nothing else."""
        delta = Delta()
        for replica, n in dots:
            key = self._keys[replica][n]
            delta.entries.setdefault(key, {})[replica, n] = self._entries[key][replica, n]
            delta.context.add((replica, n))
        return delta

    def removed(self) -> Delta:
        """A delta with all removals ever seen, and no values."""
        return Delta(context=self._context.without(self.living()))

    def _change(self, key: Key, gone: list[Dot], values: list[Any]) -> Delta:
        delta = Delta(context=Dots(gone))
        for value in values:
            _check_size(key, value)
            dot = self._context.next(self.replica)
            delta.entries[key] = {dot: value}
            delta.context.add(dot)
        delta.keys = self.merge(delta)
        return delta

    def _touched(self, context: Dots) -> list[Dot]:
        """Living dots that a context speaks about; looks at the smaller of the two."""
        touched: list[Dot] = []
        for replica in context.replicas & self._keys.keys():
            theirs = context.of(replica)
            mine = self._keys[replica]
            if len(theirs) < len(mine):
                touched += [dot for dot in theirs if dot[1] in mine]
            else:
                touched += [(replica, n) for n in mine if (replica, n) in theirs]
        return touched

    def _keep(self, key: Key, dot: Dot, value: Any) -> None:
        self._entries.setdefault(key, {})[dot] = value
        self._keys.setdefault(dot[0], {})[dot[1]] = key
        self._fingerprint ^= _fingerprint(dot)

    def _forget(self, dot: Dot) -> Key:
        replica, n = dot
        key = self._keys[replica].pop(n)
        if not self._keys[replica]:
            del self._keys[replica]
        del self._entries[key][dot]
        if not self._entries[key]:
            del self._entries[key]
        self._fingerprint ^= _fingerprint(dot)
        return key


def _fingerprint(dot: Dot) -> int:
    text = f"{dot[0]}\0{dot[1]}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())


def _check_size(key: Key, value: Any) -> None:
    size = len(orjson.dumps([key, value]))
    if size > VALUE_BYTES:
        raise ValueError(
            f"the value of {key!r} takes {size} bytes, more than the {VALUE_BYTES} that go into a "
            "message beside others: keep it elsewhere, and a reference to it in the map"
        )


def _key(body: Any) -> Key:
    if isinstance(body, str):
        return body
    if isinstance(body, list) and all(isinstance(part, str) for part in body):
        return tuple(body)
    raise ValueError(f"{body!r} is not a key: a string, or a list of strings")
