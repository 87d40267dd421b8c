"""The script and the style of the pages: stored once beside the runs, or put into a page."""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.errors import UsageError
from harness.report.markup import Html, element

STATIC = Path(__file__).parent / "static"
UPLOT = "uplot-1.6.32"

FOLDER = ".report"
"""Where the script and the style are, in the folder of runs."""

_SCRIPTS = (f"{UPLOT}.iife.min.js", "report.js")
_STYLES = (f"{UPLOT}.min.css", "report.css")


@dataclass(frozen=True)
class Asset:
    """One file: its name, which changes with its content, and its text."""

    name: str
    content: str

    @property
    def hash(self) -> str:
        """As a Content-Security-Policy names it."""
        return base64.b64encode(hashlib.sha256(self.content.encode()).digest()).decode()


@cache
def asset(name: str) -> Asset:
    """A file of ours, under a name that carries its version: pages of older reports keep theirs."""
    content = (STATIC / name).read_text(encoding="utf-8")
    if not name.startswith(UPLOT):
        stem, _, suffix = name.rpartition(".")
        name = f"{stem}-{hashlib.sha256(content.encode()).hexdigest()[:10]}.{suffix}"
    return Asset(name, content)


def store(runs_dir: Path) -> None:
    """Put the files where pages beside and below `runs_dir` look for them."""
    folder = runs_dir / FOLDER
    for name in (*_SCRIPTS, *_STYLES):
        one = asset(name)
        path = folder / one.name
        if not path.exists():
            write_file(path, one.content)


def head(title: str, place: str, inline: bool) -> Html:
    """The head of a page. `place` is where the folder of runs is, seen from the page.

    Nothing may be loaded but the files of this page, and nothing but our script is carried out,
    whatever a log line says. (`file:` beside 'self', which means nothing on a page without a host.)
    """
    scripts, styles = [asset(name) for name in _SCRIPTS], [asset(name) for name in _STYLES]
    source = "'self' file:"
    if inline:
        hashes = [" ".join(f"'sha256-{one.hash}'" for one in many) for many in (scripts, styles)]
        policy = f"script-src {hashes[0]}; style-src {hashes[1]}"
    else:
        policy = f"script-src {source}; style-src {source}"
    policy = f"default-src 'none'; {policy}; img-src data:; base-uri 'none'; form-action 'none'"
    parts = [
        Html('<meta charset="utf-8">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="color-scheme" content="light dark">'),
        Html('<link rel="icon" href="data:,">'),
        element("title", title),
    ]
    for one in styles:
        if inline:
            parts.append(Html(f"<style>{one.content}</style>"))
        else:
            parts.append(Html(f'<link rel="stylesheet" href="{place}{FOLDER}/{one.name}">'))
    return element("head", *parts)


def scripts(place: str, inline: bool) -> Html:
    """What goes to the end of a page's body."""
    told = []
    for name in _SCRIPTS:
        one = asset(name)
        if inline:
            told.append(f"<script>{one.content}</script>")
        else:
            told.append(f'<script src="{place}{FOLDER}/{one.name}"></script>')
    return Html("\n".join(told))


def page(title: str, body: Html, *, place: str, inline: bool) -> str:
    """A whole page."""
    whole = element(
        "html",
        "\n",
        head(title, place, inline),
        "\n",
        element("body", body, scripts(place, inline)),
        lang="en",
    )
    return f"<!doctype html>\n{whole}\n"


def write_file(path: Path, content: str) -> None:
    """Write a page or a file of its so that nobody ever opens half of it."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(exist_ok=True)
        temporary.write_text(content, encoding="utf-8", errors="replace")
        os.replace(temporary, path)  # noqa: PTH105  says that it overwrites
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(
            f"The report cannot be written to {path}.",
            why=str(error),
            do="Free some space, or give yourself the right to write there.",
        ) from None
