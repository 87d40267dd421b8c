"""A value of a compose file together with its place, and what is to be said about places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import UsageError


@dataclass
class Notes:
    """What the reading of `file` found and cannot give. `refused` would change what runs (place →
    value and why), `ignored` would not (place → why). Places in `accepted`, and what is below them,
    are ignored in any case, because the user said so."""

    file: Path
    accepted: Sequence[str] = ()
    refused: dict[str, tuple[str, str]] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)

    def refuse(self, place: str, value: str, why: str) -> None:
        if any(place == one or place.startswith((f"{one}.", f"{one}[")) for one in self.accepted):
            self.ignored[place] = f"{why}; ignored as asked"
        else:
            self.refused[place] = (value, why)

    def raise_if_refused(self) -> None:
        """Raise `UsageError` that lists all of `refused`."""
        if self.refused:
            places = "".join(
                f"\n  {place}: {value} ({why})" if value else f"\n  {place} ({why})"
                for place, (value, why) in self.refused.items()
            )
            first = next(iter(self.refused))
            raise UsageError(
                f"{self.file} asks for what a cluster cannot have.",
                why=places,
                do="Leave such services out with only=[…], or such keys with "
                f'ignore=["{first}", …].',
            )


@dataclass(frozen=True)
class At:
    """A value and where it stands: `services.web.ports[0]`."""

    place: str
    value: Any
    notes: Notes

    @property
    def missing(self) -> bool:
        return self.value is None

    def wrong(self, expected: str) -> UsageError:
        """The error for a value that is not `expected`."""
        return UsageError(
            f"{self.notes.file}: {self.place} is {self.value!r}.", do=f"It must be {expected}."
        )

    def refuse(self, why: str) -> None:
        """Note that this would change what runs, and that it cannot be had."""
        self.notes.refuse(self.place, _short(self.value), why)

    def ignore(self, why: str) -> None:
        """Note that this has no effect here."""
        self.notes.ignored[self.place] = why

    def child(self, key: str, value: Any) -> At:
        return At(f"{self.place}.{key}" if self.place else key, value, self.notes)

    def entries(self) -> dict[str, At]:
        """The entries of a mapping; none if nothing is written. Keys that begin with `x-` are
        everybody's own and left out."""
        if self.value is None:
            return {}
        if not isinstance(self.value, dict):
            raise self.wrong("a mapping")
        return {
            str(key): self.child(str(key), value)
            for key, value in self.value.items()
            if not str(key).startswith("x-")
        }

    def items(self) -> list[At]:
        """The items of a list; none if nothing is written."""
        if self.value is None:
            return []
        if not isinstance(self.value, list):
            raise self.wrong("a list")
        return [
            At(f"{self.place}[{number}]", value, self.notes)
            for number, value in enumerate(self.value)
        ]

    def __iter__(self) -> Iterator[At]:
        return iter(self.items())

    def text(self) -> str:
        """A text; numbers and truth values as compose writes them."""
        if isinstance(self.value, bool):
            return "true" if self.value else "false"
        if isinstance(self.value, float):
            return repr(self.value).removesuffix(".0")
        if isinstance(self.value, (str, int)):
            return str(self.value)
        raise self.wrong("a text")

    def whole(self, least: int = 0) -> int:
        try:
            if isinstance(self.value, (str, int)) and not isinstance(self.value, bool):
                number = int(self.value)
                if number >= least:
                    return number
        except ValueError:
            pass
        raise self.wrong(f"a whole number from {least}")

    def number(self) -> float:
        try:
            if isinstance(self.value, (str, int, float)) and not isinstance(self.value, bool):
                number = float(self.value)
                if 0 <= number < float("inf"):
                    return number
        except ValueError:
            pass
        raise self.wrong("a number")

    def flag(self) -> bool:
        if isinstance(self.value, bool):
            return self.value
        said = str(self.value).lower()
        if said in ("true", "yes", "on", "y", "1", "false", "no", "off", "n", "0", "none", ""):
            return said in ("true", "yes", "on", "y", "1")
        raise self.wrong("true or false")


def _short(value: Any) -> str:
    """What stands there, if it is short enough to be shown beside its place."""
    if isinstance(value, bool):
        return "true" if value else "false"
    said = str(value) if isinstance(value, (str, int, float)) else ""
    return said if len(said) <= 60 else said[:59] + "…"
