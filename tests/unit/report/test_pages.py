"""The pages as text: what they say, in which order, and that nothing recorded is carried out."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import harness.report
from harness.errors import UsageError
from harness.record.folder import RunFolder
from harness.report.assets import FOLDER, STATIC, UPLOT
from harness.report.faults import Fault
from harness.report.story import beside
from tests.support.run_folders import make_run

NASTY = "</script></pre><script>window.hacked=1</script><img src=x onerror='window.hacked=2'>\"&"


def page_of(folder: RunFolder, *, inline: bool = False) -> str:
    return harness.report.write(folder, inline).read_text(encoding="utf-8")


def test_verdicts_come_first_and_those_that_were_not_expected_before_others(tmp_path: Path) -> None:
    page = page_of(make_run(tmp_path, load=True))
    ids = ["story", "timeline", "charts", "logs", "plan", "files"]
    checks = ["linearizable(cas-register)</code>", "available(at_least=0.5)</code>"]
    parts = ["<h1>", 'id="verdicts"', *checks, *(f'id="{one}"' for one in ids)]
    places = [page.index(part, page.index("<h1>")) for part in parts]
    assert places == sorted(places)


def test_what_a_reader_needs_is_on_the_page(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    page = page_of(folder)
    for words in (
        "Failed: an invariant broke.",
        "--chaos-replay runs/",
        f"harness shrink {tmp_path.name}/{folder.path.name}",
        "expected: valid",
        "has no place",
        "f1 netsplit isolate node-1",
        "f2 kill node-2: gone at",
        "5 clients then worked on it",
        "after 0.2 s every node answered",
        "history.jsonl",
        "data:image/svg+xml;base64,",
        "node-1 lives",
    ):
        assert words in page, words


def test_a_run_that_passed_has_nothing_to_shrink(tmp_path: Path) -> None:
    page = page_of(make_run(tmp_path, outcome="passed"))
    assert "harness shrink" not in page
    assert "Passed: everything that was expected held." in page
    assert "All 1 check found what was expected." in page


def test_nothing_that_was_recorded_becomes_markup(tmp_path: Path) -> None:
    folder = make_run(tmp_path, note=NASTY, reason=NASTY, experiment=f"x.py::test_{NASTY}")
    other = make_run(tmp_path, name="other", note=NASTY, reason=NASTY)
    pages = [
        page_of(folder),
        page_of(folder, inline=True),
        harness.report.write_index(tmp_path).read_text(),
        harness.report.write_comparison(folder, other).read_text(),
    ]
    for page in pages:
        assert "<script>window" not in page and "<img src=x" not in page
        assert page.lower().count("<script") == page.lower().count("</script>")
        # No handlers, and no styles that the policy would refuse; pictures are ours alone.
        for tag, attributes in _tags(page):
            assert not [name for name in attributes if name == "style" or name.startswith("on")]
            assert tag != "img" or str(attributes["src"]).startswith("data:image/svg+xml;base64,")


def _tags(page: str) -> list[tuple[str, dict[str, str | None]]]:
    """The elements of a page as a browser sees them."""
    found: list[tuple[str, dict[str, str | None]]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: found.append((tag, dict(attrs)))  # type: ignore[method-assign]
    parser.feed(page)
    return found


def test_scripts_and_styles_are_stored_once_beside_the_runs(tmp_path: Path) -> None:
    first, second = make_run(tmp_path), make_run(tmp_path, name="other")
    pages = [page_of(first), page_of(second)]
    stored = sorted(path.name for path in (tmp_path / FOLDER).iterdir())
    assert len(stored) == 4 and f"{UPLOT}.iife.min.js" in stored
    for page in pages:
        linked = re.findall(r'(?:src|href)="\.\./\.report/([^"]+)"', page)
        assert sorted(linked) == stored
        assert len(page) < 200_000


def test_nothing_is_linked_that_is_not_on_the_disk(tmp_path: Path) -> None:
    folder = make_run(tmp_path, load=True)
    page = page_of(folder)
    for link in re.findall(r'(?:src|href)="([^"#][^"]*)"', page):
        assert link.startswith("data:") or (folder.path / link).exists(), link
    assert not re.search(r"https?://(?!www\.w3\.org)", page)


def test_one_file_for_mailing_needs_no_other(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    page = page_of(folder, inline=True)
    assert not (tmp_path / FOLDER).exists()
    assert not re.search(r'<(script|link)[^>]*(src|href)="(?!data:)', page)
    assert (STATIC / "report.js").read_text() in page
    assert "'unsafe-inline'" not in page


def test_the_policy_names_hashes_of_what_is_inlined(tmp_path: Path) -> None:
    page = page_of(make_run(tmp_path), inline=True)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-")


def test_a_folder_that_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(UsageError, match="cannot be written"):
        harness.report.write(folder)
    assert not (folder.path / "report.html").exists()


def test_the_overview_counts_and_orders(tmp_path: Path) -> None:
    for number, outcome in enumerate(["passed", "failed", "passed"], start=1):
        make_run(tmp_path, name=f"2026112{number}T000000Z-test_made_up-1", outcome=outcome)
    make_run(tmp_path, name="20261120T000000Z-other", experiment="x.py::test_other", outcome=None)
    (tmp_path / "20261119T000000Z-damaged").mkdir()
    harness.report.write(RunFolder(tmp_path / "20261123T000000Z-test_made_up-1"))
    page = harness.report.write_index(tmp_path).read_text()
    rows = re.findall(r'<tr data-outcome="(\w+)"', page)
    assert rows == ["passed", "failed", "passed", "unfinished", "damaged"]
    assert "1 of 3 (33%)" in page
    assert "seed 1 ended both ways in 3 runs" in page
    assert 'href="20261123T000000Z-test_made_up-1/report.html"' in page
    assert 'href="20261122T000000Z-test_made_up-1/"' in page
    assert "other/.report" not in page and ">.report<" not in page


def test_the_overview_of_no_runs(tmp_path: Path) -> None:
    assert "There are no runs yet." in harness.report.write_index(tmp_path).read_text()
    with pytest.raises(UsageError, match="cannot be read"):
        harness.report.write_index(tmp_path / "nowhere")


def test_a_comparison_says_what_differed(tmp_path: Path) -> None:
    first = make_run(tmp_path, name="a", seed=1, load=True)
    second = make_run(tmp_path, name="b", seed=2, outcome="passed", faults=3)
    path = harness.report.write_comparison(first, second)
    assert path == second.path / "compare-a.html"
    page = path.read_text()
    plain = re.sub(r"<[^>]+>", " ", page)
    assert "invalid (nonlinearizable)" in plain and "not judged" in plain
    assert re.search(r"f3\s+none\s+pause node-3 on node-3, \d", plain)
    assert page.count('class="lanes"') == 2


def test_times_of_a_comparison_count_from_the_faults_phase(tmp_path: Path) -> None:
    first, second = make_run(tmp_path, name="a"), make_run(tmp_path, name="b")
    # The second cluster took three seconds longer to start.
    lines = [json.loads(line) for line in second.journal.read_text().splitlines()]
    for line in lines:
        line["time"] += 3 * 10**9 * (line["time"] > 0)
    second.journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    identity = json.loads(second.identity.read_text())
    identity["phases"] = [[n, a + 3 * 10**9, b + 3 * 10**9] for n, a, b in identity["phases"]]
    second.identity.write_text(json.dumps(identity))
    plain = re.sub(r"<[^>]+>", " ", harness.report.write_comparison(first, second).read_text())
    told = re.search(
        r"f1\s+(netsplit isolate node-1 on node-1, \S+ s)\s+(netsplit \S+ \S+ on \S+, \S+ s)", plain
    )
    assert told is not None and told[1] == told[2]


def test_little_is_shown_whole_and_much_around_both_ends_of_a_fault(tmp_path: Path) -> None:
    folder = make_run(tmp_path, faults=1, duration_s=40)  # in force from 7.4 s to 23.4 s
    lines = [f"2026-11-21T10:55:{15 + n / 10:06.3f}Z tick {n}" for n in range(400)]
    (folder.logs / "node-1.log").write_text("\n".join(lines) + "\n")
    (folder.logs / "node-2.log").write_text("\n".join(lines[::100]) + "\n")
    plain = re.sub(r"<[^>]+>", " ", page_of(folder))
    assert "node-1, when the fault began (7.4 s)" in plain
    assert "node-1, when the fault ended" in plain
    assert "tick 70" in plain and "tick 80" in plain and "tick 150" not in plain
    assert "node-2, when" not in plain and "tick 200" in plain


def test_what_began_before_all_faults_is_not_blamed_on_them() -> None:
    fault = Fault("f1", "kill", "kill node-1", ["node-1"], injected=5.0, healed=7.0)
    assert beside((5.5, 6.0), [fault]) == "while f1 was in force"
    assert beside((4.0, 6.0), [fault]) == "the first before any fault; f1 was in force later"
    assert beside((1.0, 2.0), [fault]) == "before any fault"


def test_what_is_carried_out_again_stands_apart_in_the_overview(tmp_path: Path) -> None:
    fresh, replay, kept = (make_run(tmp_path, name=f"run-{number}") for number in range(3))
    for folder, more in (
        (replay, {"recording": "runs/first"}),
        (kept, {"recording": "x.json", "regression": "experiments/regressions/lost.json"}),
    ):
        identity = json.loads(folder.identity.read_text())
        folder.identity.write_text(json.dumps({**identity, **more}))
    page = harness.report.write_index(tmp_path).read_text()
    table = page[page.index('id="experiments"') : page.index('id="runs"')]
    assert table.count("1 of 1 (100%)") == 3
    assert ", replayed<" in table and ", regression lost<" in table
    assert fresh.path.name in page
