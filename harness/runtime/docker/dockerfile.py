"""What a Dockerfile says, as far as it has to be known before it is built."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from harness.container import Image
from harness.errors import UsageError

_FROM = re.compile(
    r"^\s*FROM\s+(?:--\S+\s+)*(?P<image>\S+)(?:\s+AS\s+(?P<stage>\S+))?\s*$", re.I | re.M
)
_ARG = re.compile(r"^\s*ARG\s+(?P<name>\w+)(?:=(?P<value>\S+))?\s*$", re.I | re.M)


def starting_images(text: str, given: Mapping[str, str]) -> list[str]:
    """The images that the stages of a Dockerfile start from, but for other stages and `scratch`;
    `given` are the values of build arguments."""
    first = _FROM.search(text)
    head = text[: first.start()] if first else text
    values = {m["name"]: m["value"].strip("\"'") for m in _ARG.finditer(head) if m["value"]}
    values |= given
    stages = {m["stage"].lower() for m in _FROM.finditer(text) if m["stage"]}
    found = []
    for match in _FROM.finditer(text):
        name = re.sub(
            r"\$(?:\{(\w+)(?::-([^}]*))?\}|(\w+))",
            lambda m: values.get(m[1] or m[3]) or m[2] or "",
            match["image"],
        )
        if name and name.lower() not in {*stages, "scratch"}:
            found.append(name)
    return list(dict.fromkeys(found))


def require_ours(folder: Path, image: Image) -> None:
    """Raise `UsageError` unless the Dockerfile in `folder` takes what an `Image` has for it."""
    text = (folder / "Dockerfile").read_text("utf-8")
    missing = []
    if not re.search(r"^\s*FROM\s+\$\{?BASE\b", text, re.I | re.M):
        missing.append("ARG BASE\nFROM ${BASE}")
    if (image.copies or image.parts) and not re.search(r"^\s*COPY\s.*\bfiles\b", text, re.I | re.M):
        missing.append("COPY files/ /")
    if image.requirements and not re.search(r"^\s*COPY\s.*\bsite\b", text, re.I | re.M):
        missing.append("COPY site/ /usr/local/lib/harness-site/")
    if missing:
        lines = "\n".join(missing)
        raise UsageError(
            f"The Dockerfile in {image.folder} does not use what its Image gives it.",
            why=f"There is no\n{lines}",
            do="Add it. For a Dockerfile that is to be built as it stands, and starts from another "
            "image, write Image(build=Build(folder)).",
        )
