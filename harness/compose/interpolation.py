"""`${VAR}` and its relatives, as compose files know them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATORS = (":-", ":?", ":+", "-", "?", "+", "")  # longer ones first


class InterpolationError(ValueError):
    """A text that asks for a variable in a way that has no meaning, or for one that is missing."""


def interpolate(
    text: str, values: Mapping[str, str], unset: Callable[[str], object] = lambda name: None
) -> str:
    """`text` with its variables replaced: `$VAR`, `${VAR}`, `${VAR:-default}`, `${VAR:?error}`,
    `${VAR:+instead}`, the same without the colon (which then mean unset only, not empty), and `$$`
    for a dollar. Defaults may hold variables themselves, which are looked up when they are needed.

    A variable that is not set is empty, and `unset` is told its name. A dollar before anything else
    stays. Raises `InterpolationError`.
    """
    found = []
    at = 0
    while (dollar := text.find("$", at)) >= 0:
        found.append(text[at:dollar])
        at = dollar + 1
        if text.startswith("$", at):
            found.append("$")
            at += 1
        elif text.startswith("{", at):
            end = _closing(text, at + 1)
            found.append(_braced(text[at + 1 : end], values, unset))
            at = end + 1
        elif name := _NAME.match(text, at):
            found.append(_value(name[0], values, unset))
            at = name.end()
        else:
            found.append("$")
    found.append(text[at:])
    return "".join(found)


def _closing(text: str, at: int) -> int:
    """Where the brace that was opened before `at` is closed."""
    depth = 1
    start = at
    while at < len(text):
        if text.startswith(("$$", "${"), at):
            depth += text[at + 1] == "{"
            at += 2
            continue
        depth -= text[at] == "}"
        if depth == 0:
            return at
        at += 1
    raise InterpolationError(f"${{{text[start:]} has no closing brace")


def _braced(inner: str, values: Mapping[str, str], unset: Callable[[str], object]) -> str:
    name = _NAME.match(inner)
    if name is None:
        raise InterpolationError(f"${{{inner}}} does not begin with the name of a variable")
    rest = inner[name.end() :]
    operator = next(one for one in _OPERATORS if rest.startswith(one))
    operand = rest[len(operator) :]
    if not operator:
        if rest:
            raise InterpolationError(f"${{{inner}}}: {rest!r} after the name has no meaning")
        return _value(name[0], values, unset)
    given = name[0] in values and (bool(values[name[0]]) or not operator.startswith(":"))
    if operator.endswith("+"):
        return interpolate(operand, values, unset) if given else ""
    if given:
        return values[name[0]]
    if operator.endswith("-"):
        return interpolate(operand, values, unset)
    said = interpolate(operand, values, unset) or "it is required"
    raise InterpolationError(f"the variable {name[0]} is not set: {said}")


def _value(name: str, values: Mapping[str, str], unset: Callable[[str], object]) -> str:
    if name not in values:
        unset(name)
    return values.get(name, "")
