"""Compose files and files of variables on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.compose.files import read_variables, read_yaml
from harness.errors import UnreadableError, UsageError


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_words_that_other_yaml_reads_as_something_else(tmp_path: Path) -> None:
    text = """
    flag: yes
    country: no
    switch: on
    really: true
    ports: [22:22, 3306:3306]
    date: 2020-01-01
    version: 3.8
    number: 0x10
    mode: 0444
    id: 08
    nothing: ~
    empty:
    """
    assert read_yaml(written(tmp_path / "compose.yml", text)) == {
        "flag": "yes",
        "country": "no",
        "switch": "on",
        "really": True,
        "ports": ["22:22", "3306:3306"],
        "date": "2020-01-01",
        "version": 3.8,
        "number": 16,
        "mode": 0o444,
        "id": "08",
        "nothing": None,
        "empty": None,
    }


def test_anchors_and_merges(tmp_path: Path) -> None:
    text = """
    x-base: &base
      image: app
      restart: always
    x-more: &more
      <<: *base
      restart: "no"
    services:
      one:
        <<: *base
        image: other
      two:
        <<: [*more, *base]
    """
    services = read_yaml(written(tmp_path / "compose.yml", text))["services"]
    assert services == {
        "one": {"image": "other", "restart": "always"},
        "two": {"image": "app", "restart": "no"},
    }


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("services:\n  web: {image: a}\n  web: {image: b}\n", "the key 'web' stands there twice"),
        ("services: [", "while parsing"),
        ("- a\n- b\n", "is no compose file"),
        ("", "is no compose file"),
        ("services:\n  web: !reset null\n", "!reset"),
        ("a: !!python/object/apply:os.system ['true']\n", "python/object"),
    ],
)
def test_files_that_are_none(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        read_yaml(written(tmp_path / "compose.yml", text))
    assert complaint in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no compose file"):
        read_yaml(tmp_path / "compose.yml")


VARIABLES = r"""
# a comment
PLAIN=one two # and a comment
export EXPORTED = x
HASH=a#b
SINGLE='$PLAIN \n # not a comment'
DOUBLE="$EXPORTED\n\"quoted\" \$PLAIN" # comment
LINES="first
second"
REFERS=${PLAIN}-${OUTSIDE}-${MISSING:-default}
EMPTY=
ONLY_A_NAME
WITH.DOT=1
"""


def test_variables(tmp_path: Path) -> None:
    path = written(tmp_path / ".env", VARIABLES)
    assert read_variables(path, {"OUTSIDE": "out"}) == {
        "PLAIN": "one two",
        "EXPORTED": "x",
        "HASH": "a#b",
        "SINGLE": r"$PLAIN \n # not a comment",
        "DOUBLE": 'x\n"quoted" $PLAIN',
        "LINES": "first\nsecond",
        "REFERS": "one two-out-default",
        "EMPTY": "",
        "ONLY_A_NAME": None,
        "WITH.DOT": "1",
    }


def test_raw_variables_are_taken_as_they_are(tmp_path: Path) -> None:
    path = written(tmp_path / "raw.env", "A='$B' # c\nB=\"x\n")
    assert read_variables(path, {}, raw=True) == {"A": "'$B' # c", "B": '"x'}


def test_the_environment_goes_before_the_lines_of_a_file(tmp_path: Path) -> None:
    path = written(tmp_path / ".env", "A=file\nB=$A\n")
    assert read_variables(path, {"A": "outside"})["B"] == "outside"


@pytest.mark.parametrize("line", ["two words", "=x", 'A="never closed', "A=${B"])
def test_senseless_lines_are_named_without_their_value(tmp_path: Path, line: str) -> None:
    path = written(tmp_path / ".env", f"GOOD=1\n{line}\n")
    with pytest.raises(UsageError, match=r"\.env, line 2") as caught:
        read_variables(path, {})
    assert "never closed" not in str(caught.value)
