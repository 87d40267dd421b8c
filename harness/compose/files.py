"""Compose files and files of variables, as they are on disk."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from harness.compose.interpolation import InterpolationError, interpolate
from harness.compose.places import Notes
from harness.errors import UnreadableError, UsageError


class _Loader(yaml.SafeLoader):
    """YAML 1.2 as compose reads it. PyYAML's 1.1 would make true of `yes`, 1342 of the port mapping
    22:22, and a date of a version."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # Before merge keys are resolved: what a mapping overrides is no duplicate.
        node = super().compose_mapping_node(anchor)
        assert node is not None
        seen = set()
        for key, _value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} stands there twice", key.start_mark
                    )
                seen.add(key.value)
        return node


_Loader.yaml_implicit_resolvers = {}
for _kind, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+|0o?[0-7]+)", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+)",
        "-+.0123456789",
    ),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_kind}", re.compile(f"^(?:{_pattern})$"), list(_first)
    )


def read_yaml(path: Path) -> dict[str, Any]:
    """The compose file `path`, not interpolated. Raises `UsageError` if there is none and
    `UnreadableError` if it is no YAML or no mapping."""
    try:
        data = yaml.load(_text(path, "compose file"), Loader=_Loader)
    except yaml.YAMLError as error:
        raise UnreadableError(
            f"{path} is no YAML that can be read.",
            why=str(error),
            do="Correct it; `docker compose config` checks it.",
        ) from None
    if not isinstance(data, dict):
        raise UnreadableError(f"{path} is no compose file.", do="It needs a mapping `services`.")
    return data


def interpolated(data: Any, values: Mapping[str, str], notes: Notes) -> Any:
    """`data` with the variables in its texts (not in keys) replaced; unset ones are noted. Raises
    `UsageError` that names the place."""

    def walk(value: Any, place: str) -> Any:
        if isinstance(value, dict):
            return {
                key: walk(inner, f"{place}.{key}" if place else str(key))
                for key, inner in value.items()
            }
        if isinstance(value, list):
            return [walk(inner, f"{place}[{number}]") for number, inner in enumerate(value)]
        if not isinstance(value, str):
            return value

        def unset(name: str) -> None:
            notes.ignored[place] = f"the variable {name} is not set: taken as empty"

        try:
            return interpolate(value, values, unset)
        except InterpolationError as error:
            raise UsageError(
                f"{notes.file}: {place}: {error}.",
                do="Set the variable in the environment or in the file .env beside the compose "
                "file, or write $$ for a dollar.",
            ) from None

    return walk(data, "")


_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*(?:([=:])(.*))?", re.S)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$$"}


def read_variables(
    path: Path, values: Mapping[str, str], *, raw: bool = False
) -> dict[str, str | None]:
    """The variables in a file of `NAME=value` lines; None for a name alone. Values may refer to
    `values` and to lines before; in single quotes, and with `raw`, nothing is replaced. Raises
    `UsageError` if there is no such file and `UnreadableError` with the line that makes no sense.
    """
    found: dict[str, str | None] = {}
    lines = iter(enumerate(_text(path, "file of variables").splitlines(), start=1))
    for number, line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        assignment = _ASSIGNMENT.fullmatch(line)
        if assignment is None or "\0" in line:
            raise _senseless(path, number, line)
        name, sign, value = assignment[1], assignment[2], assignment[3]
        if sign is None:
            found[name] = None
        elif raw:
            found[name] = value
        else:
            value = value.strip()
            while value[:1] in ("'", '"') and _quoted(value) is None:
                following = next(lines, None)
                if following is None:
                    raise _senseless(path, number, line)
                value += "\n" + following[1]
            known = {**{key: one for key, one in found.items() if one is not None}, **values}
            try:
                found[name] = _meant(value, known)
            except InterpolationError as error:
                raise UsageError(f"{path}, line {number}: {error}.") from None
    return found


def _quoted(value: str) -> str | None:
    """What stands between the quotes that `value` begins with; None if they are not closed."""
    quote = value[0]
    at = 1
    while at < len(value):
        if value[at] == quote:
            return value[1:at]
        at += 2 if quote == '"' and value[at] == "\\" else 1
    return None


def _meant(value: str, known: Mapping[str, str]) -> str:
    if value[:1] == "'":
        return _quoted(value) or ""
    if value[:1] == '"':
        inner = re.sub(
            r"\\(.)",
            lambda match: _ESCAPES.get(match[1], match[0]),
            _quoted(value) or "",
            flags=re.S,
        )
        return interpolate(inner, known)
    return interpolate(re.split(r"(?:^|\s)#", value, maxsplit=1)[0].rstrip(), known)


def _senseless(path: Path, number: int, line: str) -> UnreadableError:
    # Its value may be a password.
    name = line.partition("=")[0].strip()[:40]
    return UnreadableError(
        f"{path}, line {number} ({name!r} …) is no variable.", do="Write NAME=value."
    )


def _text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(
            f"There is no {what} {path}.",
            do="Paths are relative to the current directory, and those in a compose file to its "
            "own.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{path} cannot be read.", why=str(error)) from None
