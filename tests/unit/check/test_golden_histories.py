"""Verdicts on histories that others published, with the verdicts that they published."""

from __future__ import annotations

import csv

import pytest

from harness.check import linearizable
from tests.support.histories import GOLDEN, read_jepsen_log, read_knossos

READERS = {"jepsen-log": read_jepsen_log, "edn": read_knossos}
INITIAL = {"nil": None, "0": 0}


def _rows() -> list[dict[str, str]]:
    index = GOLDEN / "expected.tsv"
    if not index.exists():
        return []
    with index.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [row for row in rows if row["model"] == "cas-register"]


def test_golden_histories_are_there() -> None:
    if not GOLDEN.is_dir():
        pytest.skip(f"no golden histories at {GOLDEN}")
    assert len(_rows()) >= 24


@pytest.mark.parametrize("row", _rows(), ids=lambda row: row["file"])
def test_the_published_verdict(row: dict[str, str]) -> None:
    history = READERS[row["format"]](GOLDEN / row["file"])
    assert len(history) > 4 or "minimal" in row["file"]
    verdict = linearizable("cas-register", initial=INITIAL[row["initial"]])(history)
    assert verdict.result == ("valid" if row["expected_valid"] == "true" else "invalid")
    assert bool(verdict.evidence) == (verdict.result == "invalid")
    assert len(verdict.evidence.splitlines()) <= 15
