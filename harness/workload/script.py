"""A script: the ops that clients invoked in a run, written down so that they can be invoked again.

A workload draws its ops while it runs; a script lists them, each with its client, its moment and
its values. Replays and shrunk plans carry out scripts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from harness.errors import UnreadableError
from harness.workload.workload import SEEN, Request


@dataclass(frozen=True, slots=True)
class PlannedOp:
    """One op of a script: which client invokes what, and when, in seconds after the faults' phase
    began (negative: before it)."""

    client: int
    at_s: float
    request: Request

    def to_json(self) -> dict[str, Any]:
        """The op as it stands in a plan; what is empty is left out."""
        request = self.request
        told: dict[str, Any] = {"client": self.client, "at_s": self.at_s, "f": request.f}
        if request.key is not None:
            told["key"] = request.key
        if request.values:
            told["values"] = _written(request.values)
        if request.named:
            told["named"] = dict(request.named)
        return told

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PlannedOp:
        """The op that `to_json` wrote, or a person. Raises `KeyError`, `TypeError` or `ValueError`
        for what is none."""
        unknown = data.keys() - {"client", "at_s", "f", "key", "values", "named"}
        if unknown:
            raise ValueError(f"an op has no {sorted(unknown)[0]!r}")
        if not isinstance(data.get("values", []), list):
            raise TypeError("the values of an op are a list")
        values = _read(data.get("values", ()))
        key = _hashable(data.get("key"))
        request = Request(data["f"], key, values, data.get("named") or None)
        return cls(int(data["client"]), float(data["at_s"]), request)


def call_note(request: Request) -> dict[str, Any] | None:
    """What a history must hold beside an op's `value` for the call to be known again: the values as
    they stand in a plan, where one was bound to what the client had seen, or `value` could mean two
    calls."""
    values = request.values
    ambiguous = request.named or (len(values) == 1 and isinstance(values[0], _AMBIGUOUS))
    if not ambiguous and SEEN not in values:
        return None
    note: dict[str, Any] = {"values": _written(values)}
    return {**note, "named": dict(request.named)} if request.named else note


def _written(values: Sequence[Any]) -> list[Any]:
    return [{"seen": True} if value is SEEN else value for value in values]


def _read(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(SEEN if value == {"seen": True} else value for value in values)


_AMBIGUOUS = (list, tuple, dict, type(None))
"""What stands in a history for one value as it would for several, for named ones, or for none."""


def stride(clients: int, nodes: int) -> int:
    """By how much a client's process id grows when it is retired: one for each client of the
    workload, and one for each node or dependency that final reads are asked of."""
    return clients + nodes


def read_script(history: Path, clients: int, nodes: int, begun_ns: int) -> tuple[PlannedOp, ...]:
    """The ops that the `clients` of a run invoked, in order, from its `history.jsonl`; final reads
    are left out. `begun_ns` is when the faults' phase began. O(ops).

    Raises `UnreadableError` if a line is damaged; a last line that was cut off is left out.
    """
    ops = []
    lines = history.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            record = orjson.loads(line)
            client = record["process"] % stride(clients, nodes)
            if record["type"] != "invoke" or record.get("final") or client >= clients:
                continue
            at_s = round((record["time"] - begun_ns) / 1e9, 3)
            ops.append(PlannedOp(client, at_s, _request(record)))
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                break
            raise UnreadableError(
                f"{history} is damaged in line {number}.", why=f"{type(error).__name__}: {error}"
            ) from None
    return tuple(ops)


def _hashable(key: Any) -> Any:
    """A key of several parts is a list in files, and a tuple for clients."""
    return tuple(_hashable(part) for part in key) if isinstance(key, list) else key


def _request(record: Mapping[str, Any]) -> Request:
    f, key, value = record["f"], _hashable(record["key"]), record["value"]
    call = record.get("call") or {}
    if "values" in call:
        return Request(f, key, _read(call["values"]), call.get("named"))
    values = value if isinstance(value, list) else () if value is None else (value,)
    return Request(f, key, tuple(values))
