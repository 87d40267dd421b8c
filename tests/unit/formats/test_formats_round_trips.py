"""Generated histories, written in every format, come back as they were."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UnreadableError
from harness.formats import from_maps, read
from harness.history import MISMATCH, History, Op, Record

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=4)
VALUES = st.recursive(
    SCALARS | st.sampled_from(["append", "r", "},{", '"', "\\", "[,", "; #_"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=5,
)
LOG_VALUES = st.recursive(
    st.none() | st.integers(), lambda inner: st.lists(inner, max_size=3), max_leaves=4
)


@st.composite
def records(draw: st.DrawFn, values: st.SearchStrategy[Any] = VALUES) -> list[Record]:
    """Records of a history that `History.of` accepts."""
    made: list[Record] = []
    opened: dict[int, Record] = {}
    free = 0
    index = time = 0
    for _ in range(draw(st.integers(1, 12))):
        index += draw(st.integers(1, 3))
        time += draw(st.integers(0, 10))
        if opened and draw(st.booleans()):
            begun = opened.pop(draw(st.sampled_from(sorted(opened))))
            kind: Any = draw(st.sampled_from(["ok", "ok", "fail", "info"]))
            error = draw(st.sampled_from([None, MISMATCH, "it's"])) if kind != "ok" else None
            record = replace(
                begun, index=index, time=time, type=kind, value=draw(values), error=error
            )
        else:
            f = draw(st.sampled_from(["read", "cas", "txn"]))
            key = draw(st.sampled_from([None, "x", 3]))
            record = Record(index, time, free, "invoke", f, key, draw(values), node="n1")
            opened[free] = record
            free += 1
        made.append(record)
    return made


@dataclass
class Spacing:
    """Blanks that mean nothing, drawn as they are needed."""

    data: st.DataObject
    choices: tuple[str, ...]

    def __call__(self) -> str:
        return self.data.draw(st.sampled_from(self.choices))


EDN_BLANKS = (" ", " ", ", ", "\n", " ; no }\n", ' #_ {:a [1 "}"]} ', "\t,\r\n")
JSON_BLANKS = ("", "", " ", "\n", "\t\r\n ")


def as_edn(value: Any, blank: Spacing) -> str:
    """A JSON value in EDN: now and then a keyword where a string would do."""
    if isinstance(value, dict):
        parts = [f"{as_edn(k, blank)}{blank()}{as_edn(v, blank)}" for k, v in value.items()]
        return "{" + blank().join(parts) + "}"
    if isinstance(value, list):
        return "[" + blank().join(as_edn(part, blank) for part in value) + "]"
    if isinstance(value, str) and value.isascii() and value.isalpha():
        return f":{value}"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=value[:1] < "n")
    return "nil" if value is None else str(value).lower()


def as_json(value: Any, blank: Spacing) -> str:
    """A JSON value with blanks in it."""
    if isinstance(value, dict):
        parts = [f"{json.dumps(k)}{blank()}:{blank()}{as_json(v, blank)}" for k, v in value.items()]
        return "{" + blank() + f"{blank()},{blank()}".join(parts) + blank() + "}"
    if isinstance(value, list):
        return "[" + f"{blank()},".join(as_json(part, blank) for part in value) + blank() + "]"
    return json.dumps(value)


def written(text: str, format: str) -> History:
    """The history that a file with that text holds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_text(text, encoding="utf-8", newline="")
        return read(path, format)


def expected(made: list[Record]) -> list[Op]:
    """What our own reader makes of them."""
    return list(History.of(made).ops)


def alike(ops: Any, others: Any) -> bool:
    """Equal, and 1 is neither True nor 1.0."""
    return repr(list(ops)) == repr(list(others))


@given(records(), st.data())
@settings(max_examples=25, deadline=None)
def test_edn(made: list[Record], data: st.DataObject) -> None:
    blank = Spacing(data, EDN_BLANKS)
    maps = [as_edn(record.to_json(), blank) for record in made]
    tag = data.draw(st.sampled_from(["", "#jepsen.history.Op", "#knossos.op.Op "]))
    nemesis = "{:process :nemesis :type :info :f :start :value #{:n1}}"
    text = blank().join([*(f"{tag}{line}" for line in maps), nemesis])
    around = data.draw(st.sampled_from(["{}", "[{}]", "({})\n"]))
    assert alike(written(around.replace("{}", text), "edn").ops, expected(made))


@given(records(), st.data())
@settings(max_examples=25, deadline=None)
def test_json(made: list[Record], data: st.DataObject) -> None:
    blank = Spacing(data, JSON_BLANKS)
    maps = [as_json(record.to_json(), blank) for record in made]
    if data.draw(st.booleans()):
        text = blank() + "[" + f"{blank()},{blank()}".join(maps) + blank() + "]" + blank()
    else:
        text = "\n".join(maps)
    assert alike(written(text, "json").ops, expected(made))


@given(records(st.integers(-(2**63), 2**64 - 1) | LOG_VALUES))
@settings(max_examples=25, deadline=None)
def test_our_own(made: list[Record]) -> None:
    try:
        text = "".join(orjson.dumps(record.to_json()).decode() + "\n" for record in made)
    except TypeError:
        return  # a number of more than 64 bits is never recorded
    assert alike(written(text, "jsonl").ops, expected(made))
    assert alike(written(text, "auto").ops, expected(made))


@given(records(LOG_VALUES), st.data())
@settings(max_examples=25, deadline=None)
def test_jepsen_log(made: list[Record], data: st.DataObject) -> None:
    lines = []
    blank = Spacing(data, (" ", ", "))
    for index, record in enumerate(made):
        # The line has no room for index, time, key and node.
        record.index = record.time = index
        record.key = record.node = None
        if record.type == "fail" and record.f == "cas" and record.error is None:
            record.error = MISMATCH
        before = data.draw(st.sampled_from(["INFO  jepsen.util - ", "", "INFO [a b] w 1 - "]))
        value = as_edn(record.value, blank)
        columns = [str(record.process), f":{record.type}", f":{record.f}", value]
        columns += [f":{record.error}"] if record.error else []
        lines.append(before + "\t".join(columns) + "\n")
    text = "INFO  jepsen.core - begins\n".join(["", *lines])
    assert alike(written(text, "jepsen-log").ops, expected(made))
    assert alike(written(text, "auto").ops, expected(made))


@given(records(), st.integers(0, 10), st.sampled_from(["drop", "twice", "swap", "type", "f"]))
@settings(max_examples=60, deadline=None)
def test_what_our_own_reader_refuses_is_refused(made: list[Record], at: int, damage: str) -> None:
    broken = [replace(record, index=place, time=place) for place, record in enumerate(made)]
    at %= len(broken)
    if damage == "drop":
        del broken[at]
    elif damage == "twice":
        broken.insert(at, replace(broken[at]))
    elif damage == "swap":
        broken[at], broken[-1] = broken[-1], broken[at]
    elif damage == "type":
        broken[at].type = "invoke"
    else:
        broken[at].f = "another"
    try:
        sound = expected(broken)
    except UnreadableError:
        sound = None
    if all(record.type != "invoke" for record in broken):
        return  # completions alone are a history of another kind
    try:
        got = from_maps(record.to_json() for record in broken).ops
    except UnreadableError:
        assert sound is None
    else:
        assert sound is not None
        assert alike(got, sound)
