"""What the documentation shows `harness check` to say is what it says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/histories.md", "docs/isolation.md")
COMMAND = re.compile(r"\$ (?:\.venv/bin/)?harness (check fixtures/.*)")


def shown() -> Iterator[tuple[str, str, str]]:
    """Page, command and output of each example that names a history of this checkout."""
    for page in PAGES:
        for block in re.findall(r"^```\w*\n(.*?)^```$", (ROOT / page).read_text(), re.M | re.S):
            for part in re.split(r"^(?=\$ )", block, flags=re.M):
                command, _, output = part.partition("\n")
                if found := COMMAND.fullmatch(command):
                    yield page, found[1], output


@pytest.mark.parametrize(("page", "command", "output"), list(shown()))
def test_examples_say_what_is_shown(
    page: str,
    command: str,
    output: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "fixtures").symlink_to(ROOT / "fixtures")
    monkeypatch.chdir(tmp_path)
    main(shlex.split(command))
    assert capsys.readouterr().out == output


def test_there_are_examples() -> None:
    assert {page for page, _, _ in shown()} == set(PAGES)


@pytest.mark.parametrize(
    ("picture", "command"),
    [
        ("stale-read", "stale-read.edn --model register"),
        ("write-skew", "write-skew.edn --model list-append --consistency-model serializable"),
    ],
)
def test_pictures_are_what_is_drawn(picture: str, command: str, tmp_path: Path) -> None:
    drawn = tmp_path / "drawn.svg"
    file, *options = shlex.split(command)
    main(["check", str(ROOT / "fixtures" / "histories" / file), *options, "--svg", str(drawn)])
    assert drawn.read_text() == (ROOT / "docs" / "images" / f"{picture}.svg").read_text()
