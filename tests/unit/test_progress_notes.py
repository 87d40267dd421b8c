"""What the terminal says of notes."""

from __future__ import annotations

import pytest

from harness.progress import _told
from harness.record.journal import Event


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"what": "Toxiproxy hung."}, "Toxiproxy hung."),
        ({"outcome": "broken", "reason": "first\nsecond"}, "broken: first"),
    ],
)
def test_a_note_is_told_in_one_line(data: dict[str, str], said: str) -> None:
    assert _told(Event(0, "note", data)) == said
