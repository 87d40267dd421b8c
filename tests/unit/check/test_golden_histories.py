"""Verdicts on histories that others published, with the verdicts that they published."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from harness.check.named import check_named
from harness.cli import main
from harness.formats import read
from tests.support.histories import GOLDEN

WORDS = {"true": "valid", "false": "invalid"}
INITIAL = {"nil": None, "": None, '""': ""}

PHANTOM = ("elle-cli/elle/rw-register.edn", "elle-cli/elle/rw-register.json")
"""Elle finds nothing wrong with a read of 3 where nobody wrote 3. The harness does."""


def _rows() -> list[dict[str, str]]:
    index = GOLDEN / "expected.tsv"
    if not index.exists():
        return []
    with index.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


ROWS = pytest.mark.parametrize("row", _rows(), ids=lambda row: row["file"])


def test_golden_histories_are_there() -> None:
    if not GOLDEN.is_dir():
        pytest.skip(f"no golden histories at {GOLDEN}")
    assert len(_rows()) >= 35
    assert set(PHANTOM) <= {row["file"] for row in _rows()}


@ROWS
@pytest.mark.parametrize("auto", [True, False], ids=["auto", "named"])
def test_the_published_verdict(row: dict[str, str], auto: bool) -> None:
    history = read(GOLDEN / row["file"], "auto" if auto else row["format"])
    text = row["initial"]
    verdict = check_named(
        row["model"],
        consistency_model=row["consistency_model"] or None,
        initial=INITIAL[text] if text in INITIAL else json.loads(text),
        timeout=30,
    )(history)
    if row["file"] in PHANTOM:
        assert (verdict.result, verdict.anomalies) == ("invalid", ["phantom-read"])
        return
    assert verdict.result == WORDS[row["expected_valid"]], verdict.summary
    assert bool(verdict.evidence) == (verdict.result == "invalid")
    assert len(verdict.evidence.splitlines()) <= 15


@ROWS
def test_the_command_says_the_same(
    row: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["check", str(GOLDEN / row["file"]), "--model", row["model"], "--json"]
    if row["consistency_model"]:
        command += ["--consistency-model", row["consistency_model"]]
    if row["initial"] not in INITIAL:
        command += ["--initial", row["initial"]]
    picture = tmp_path / "evidence.svg"
    code = main([*command, "--svg", str(picture)])
    printed = json.loads(capsys.readouterr().out)
    valid = row["expected_valid"] == "true" and row["file"] not in PHANTOM
    assert (code, printed["valid"]) == ((0, True) if valid else (1, False))
    assert bool(printed["anomalies"]) == (not valid)
    assert printed["ops"] > 0
    assert {"not", "evidence", "seconds"} <= set(printed)
    assert picture.exists() == (not valid)
