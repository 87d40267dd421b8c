"""Reports in a real browser: Debian's Chromium, driven by Playwright.

Screenshots go to the folder that HARNESS_SCREENSHOTS names, else to one of pytest's.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import harness.report
from harness.record.folder import RunFolder
from tests.support.run_folders import make_run

playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")

pytestmark = pytest.mark.live

TIMEOUT_MS = 20_000
SIZE = {"width": 1280, "height": 900}
NASTY = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=2'>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not on PATH: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        # As root there is no sandbox to be had.
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        launched = driver.chromium.launch(
            executable_path=chromium, args=options, timeout=TIMEOUT_MS
        )
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A failed run with everything, one that passed, and both beside each other."""
    runs = tmp_path_factory.mktemp("runs")
    failed = make_run(runs, faults=4, load=True, note=NASTY)
    passed = make_run(runs, name="20261121T110000Z-passed-2", seed=2, outcome="passed")
    for folder in (failed, passed):
        harness.report.write(folder)
    harness.report.write_comparison(failed, passed)
    harness.report.write_index(runs)
    return runs


@pytest.fixture(scope="module")
def report(runs: Path) -> Path:
    return runs / "20261121T105515Z-test_made_up-1" / "report.html"


Opened = Callable[..., Any]


@pytest.fixture(scope="module")
def watched(browser: Any) -> Iterator[tuple[Opened, list[str]]]:
    """Opens pages, and gathers what was wrong with them: errors, and requests for anything but
    files in the folder of runs."""
    context = browser.new_context()
    context.set_default_timeout(TIMEOUT_MS)
    wrong: list[str] = []

    def open_page(path: Path) -> Any:
        page = context.new_page()
        page.set_viewport_size(SIZE)
        allowed = f"file://{path.resolve().parent.parent}/"

        def request(asked: Any) -> None:
            if not asked.url.startswith((allowed, "data:")):
                wrong.append(f"asked for {asked.url}")

        page.on("request", request)
        page.on("requestfailed", lambda failed: wrong.append(f"not loaded: {failed.url}"))
        page.on("console", lambda said: wrong.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(path.resolve().as_uri())
        page.wait_for_selector("html.ready")
        return page

    yield open_page, wrong
    context.close()


@pytest.fixture
def opened(watched: tuple[Opened, list[str]]) -> Iterator[Opened]:
    """Opens a page, and demands at the end that nothing was wrong with it."""
    open_page, wrong = watched
    pages: list[Any] = []

    def opening(path: Path) -> Any:
        pages.append(open_page(path))
        return pages[-1]

    yield opening
    for page in pages:
        page.close()
    found, wrong[:] = list(wrong), []
    assert found == []


@pytest.fixture(scope="module")
def _kept(watched: tuple[Opened, list[str]], report: Path) -> Any:
    return watched[0](report)


@pytest.fixture
def page(_kept: Any, watched: tuple[Opened, list[str]]) -> Iterator[Any]:
    """The report of the failed run as it is when it was just opened."""
    _, wrong = watched
    page = _kept
    page.set_viewport_size(SIZE)
    page.emulate_media(color_scheme="light")
    page.evaluate("window.report.start(); scrollTo(0, 0)")
    page.mouse.move(0, 0)
    yield page
    found, wrong[:] = list(wrong), []
    assert found == []


@pytest.fixture
def shoot(tmp_path: Path) -> Callable[[Any, str], None]:
    folder = Path(os.environ.get("HARNESS_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)

    def take(page: Any, name: str) -> None:
        page.screenshot(path=folder / f"{name}.png")

    return take


def view(page: Any) -> tuple[float, float]:
    """From when to when the page shows, once what was asked for is painted."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    seen = page.evaluate("window.report.view")
    return seen["min"], seen["max"]


def test_the_verdict_is_what_one_sees_first(page: Any, shoot: Callable[[Any, str], None]) -> None:
    words = page.inner_text("body")
    assert words.index("Failed: an invariant broke.") < 50
    assert words.index("linearizable(cas-register)") < words.index("Timeline\n")
    # Without scrolling: the outcome, and the first check with what it found.
    for selector in (".outcome", ".verdict .summary"):
        box = page.locator(selector).first.bounding_box()
        assert box["y"] + box["height"] < 900
    shoot(page, "report")


def test_what_was_recorded_is_shown_and_not_carried_out(page: Any) -> None:
    assert page.evaluate("window.hacked") is None
    assert NASTY in page.inner_text(".verdict.found .summary")
    page.locator("#logs summary").first.click()
    assert NASTY in page.locator("#logs pre").first.inner_text()
    assert page.locator("img").count() == 1


def test_a_row_of_the_evidence_leads_to_its_op(
    page: Any, shoot: Callable[[Any, str], None]
) -> None:
    button = page.locator("table.ops button.op").nth(1)
    row = int(button.get_attribute("data-op"))
    button.click()
    minimum, maximum = view(page)
    start = page.evaluate(f"window.report.runs[0].ops.start[{row}]")
    assert minimum < start < maximum < minimum + 1
    index = page.evaluate(f"window.report.runs[0].ops.index[{row}]")
    assert page.evaluate("window.report.selected") == index
    assert f"index {index} of history.jsonl" in page.inner_text("#selected")
    assert button.get_attribute("aria-pressed") == "true"
    shoot(page, "report-op")


def test_zooming_by_keys_buttons_dragging_and_the_wheel(page: Any) -> None:
    lanes = page.locator(".lanes")
    lanes.scroll_into_view_if_needed()
    whole = page.evaluate("window.report.runs[0].end")
    box = lanes.bounding_box()
    left, y = page.evaluate("window.report.lanes[0].left"), box["y"] + box["height"] - 12

    page.get_by_role("button", name="Whole run").click()
    assert view(page) == (0, whole)
    # A click would select what is there: beside the clients' lanes is nothing.
    lanes.focus()
    page.keyboard.press("+")
    assert view(page) == pytest.approx((whole / 4, whole * 3 / 4))
    page.keyboard.press("ArrowLeft")
    assert view(page) == pytest.approx((whole * 0.15, whole * 0.65))
    page.keyboard.press("0")
    assert view(page) == (0, whole)

    width = box["width"] - left - 12
    page.mouse.move(box["x"] + left + width / 2, y)
    page.mouse.down()
    page.mouse.move(box["x"] + left + width * 3 / 4, y, steps=3)
    page.mouse.up()
    assert view(page) == pytest.approx((whole / 2, whole * 3 / 4), abs=0.02)

    page.mouse.wheel(0, -50)  # (the timeline has the focus)
    low, high = view(page)
    assert high - low == pytest.approx(whole / 4 / 1.2, rel=0.01)
    page.mouse.dblclick(box["x"] + left + width / 2, y)
    assert view(page) == (0, whole)


def test_the_charts_follow_the_timeline_and_it_them(page: Any) -> None:
    over = page.locator("[data-chart=throughput] .u-over")
    over.scroll_into_view_if_needed()
    before = view(page)
    box = over.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40, steps=3)
    page.mouse.up()
    low, high = view(page)
    span = before[1] - before[0]
    assert (low, high) == pytest.approx((before[0] + span / 4, before[0] + span / 2), abs=0.03)
    # The moment under the pointer is the same in the other charts.
    page.mouse.move(box["x"] + box["width"] / 3, box["y"] + 40)
    view(page)
    for chart in ("latency", "load-latency"):
        cursor = page.locator(f"[data-chart={chart}] .u-cursor-x").bounding_box()
        assert cursor["x"] == pytest.approx(box["x"] + box["width"] / 3, abs=2), chart


def test_faults_are_drawn_where_they_were(page: Any) -> None:
    bands = page.evaluate("window.report.lanes[0].bands")
    faults = page.evaluate("window.report.runs[0].faults")
    assert [band["id"] for band in bands] == ["f1", "f2", "f3", "f4"]
    left, scale = page.evaluate("[window.report.lanes[0].left, window.report.lanes[0].scale]")
    low, _ = view(page)
    for band, fault in zip(bands, faults, strict=True):
        assert band["x0"] == pytest.approx(left + (fault["start"] - low) * scale)
    # A pattern, not a tint alone; before the first there is nothing but a line of the grid. (Below
    # the words, which may cover the rest of a short one.)
    counts = page.evaluate(
        """(places) => { const { base } = window.report.lanes[0], ratio = devicePixelRatio;
          const all = base.getContext('2d').getImageData(0, 0, base.width, base.height).data;
          return places.map(([left, top]) => { const seen = new Set();
            for (let x = left; x < left + 16; x++) for (let y = top; y < top + 2; y++) {
              const at = (Math.round(y * ratio) * base.width + Math.round(x * ratio)) * 4;
              seen.add(all.slice(at, at + 3).join()); }
            return seen.size; }); }""",
        [[band["x0"] + 2, band["y"] + 16] for band in bands]
        + [[bands[0]["x0"] - 20, bands[0]["y"]]],
    )
    assert min(counts[:-1]) >= 2 > counts[-1]


def test_pointing_at_an_op_tells_of_it(page: Any) -> None:
    page.locator("#timeline").scroll_into_view_if_needed()
    page.evaluate("window.report.select(0, window.report.runs[0].verdicts[0].rows[0])")
    view(page)
    x, y = page.evaluate(
        """() => { const lanes = window.report.lanes[0], row = lanes.run.verdicts[0].rows[0];
          const place = lanes.box.getBoundingClientRect(), ops = lanes.run.ops;
          return [place.left + lanes.x(ops.start[row] + ops.dur[row] / 2),
                  place.top + lanes.laneY(ops.lane[row]) + lanes.laneHeight / 2]; }"""
    )
    page.mouse.move(x, y)
    page.wait_for_selector(".tip:not([hidden])")
    row = page.evaluate("window.report.runs[0].verdicts[0].rows[0]")
    process = page.evaluate(f"window.report.runs[0].ops.process[{row}]")
    assert f"process {process} " in page.inner_text(".tip")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_in_the_light_and_in_the_dark_wide_and_narrow(
    page: Any, shoot: Callable[[Any, str], None], scheme: str
) -> None:
    page.emulate_media(color_scheme=scheme)
    names = [name for pair in TEXT for name in pair] + list(MARKS)
    shades = page.evaluate(
        """(names) => { const style = getComputedStyle(document.documentElement);
          return Object.fromEntries(names.map(
            (name) => [name, style.getPropertyValue('--' + name).trim()])); }""",
        names,
    )
    for front, back in TEXT:
        assert contrast(shades[front], shades[back]) >= 4.5, (front, back)
    for mark in MARKS:
        assert contrast(shades[mark], shades["bg"]) >= 3, mark
    for width in (1280, 420):
        page.set_viewport_size({"width": width, "height": 900})
        view(page)
        # Nothing makes the page wider than the window.
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.evaluate("document.querySelector('#timeline').scrollIntoView()")
        shoot(page, f"report-{scheme}-{width}")


TEXT = [
    ("fg", "bg"),
    ("muted", "bg"),
    ("link", "bg"),
    ("fg", "panel"),
    ("bad", "bad-bg"),
    ("good", "good-bg"),
    ("warn", "warn-bg"),
]
MARKS = ("ok", "info", "cut", "down", "paused", "slow", "lossy", "other")


def contrast(one: str, other: str) -> float:
    """As WCAG 2 defines it, of two colours like #1a1e23."""

    def luminance(colour: str) -> float:
        shares = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_outcomes_are_told_apart_without_colours(
    page: Any, shoot: Callable[[Any, str], None]
) -> None:
    session = page.context.new_cdp_session(page)
    page.evaluate("document.querySelector('#timeline').scrollIntoView()")
    for vision in ("deuteranopia", "achromatopsia", "none"):
        session.send("Emulation.setEmulatedVisionDeficiency", {"type": vision})
        view(page)
        if vision != "none":
            shoot(page, f"report-{vision}")
    session.detach()
    # Each outcome has its words beside its colour, and a mark of its own.
    assert page.locator(".legend span").count() >= 4
    assert page.locator(".badge .mark").count() == page.locator(".badge").count() > 2


def test_it_prints(page: Any, tmp_path: Path) -> None:
    page.emulate_media(color_scheme="dark")
    path = Path(os.environ.get("HARNESS_SCREENSHOTS") or tmp_path) / "report.pdf"
    page.pdf(path=path, format="A4", print_background=True)
    data = path.read_bytes()
    assert data.startswith(b"%PDF")
    # The lanes are a picture there, and so is each chart: Chromium leaves out parts of what it
    # would draw anew.
    sizes = re.findall(rb"/Width (\d+)\s+/Height (\d+)", data)
    heights = [int(height) for width, height in sizes if int(width) >= 500]
    assert page.evaluate("window.report.lanes[0].height") in heights
    assert len(heights) > page.locator(".chart").count()
    # On the screen it is as it was.
    assert "printing" not in (page.get_attribute("html", "class") or "")


def test_one_file_alone_does_all_of_it(opened: Opened, tmp_path: Path) -> None:
    alone = tmp_path / "mailed" / "report.html"
    alone.parent.mkdir()
    inlined = make_run(tmp_path / "runs", load=True)
    alone.write_bytes(harness.report.write(inlined, inline=True).read_bytes())
    page = opened(alone)
    page.locator(".lanes").focus()
    page.keyboard.press("e")
    low, high = view(page)
    assert high - low < 1 and page.evaluate("window.report.selected") is not None


def test_without_its_script_the_page_says_so_and_can_be_read(
    browser: Any, report: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere" / "report.html"
    moved.parent.mkdir()
    moved.write_bytes(report.read_bytes())
    page = browser.new_page()
    try:
        page.goto(moved.as_uri())
        assert page.locator(".unscripted").is_visible()
        assert "harness report RUN --inline" in page.inner_text(".unscripted")
        assert page.locator(".verdict").count() == 2
    finally:
        page.close()


def test_the_overview_filters(
    opened: Opened, runs: Path, shoot: Callable[[Any, str], None]
) -> None:
    page = opened(runs / "index.html")
    assert page.inner_text("#count") == "2 of 2 runs"
    page.get_by_label("passed").uncheck()
    assert page.inner_text("#count") == "1 of 2 runs"
    assert page.locator("tr[data-outcome]:visible").count() == 1
    page.get_by_label("passed").check()
    page.fill("#search", "PASSED")
    assert page.inner_text("#count") == "1 of 2 runs"
    page.fill("#search", "")
    shoot(page, "index")
    page.locator("tr[data-outcome=failed] a").click()
    page.wait_for_selector("html.ready .lanes canvas")


def test_two_runs_on_one_axis(
    opened: Opened, runs: Path, shoot: Callable[[Any, str], None]
) -> None:
    (path,) = runs.glob("*/compare-*.html")
    page = opened(path)
    # Both phases of faults begin at 0, wherever they did.
    starts = page.evaluate(
        "window.report.runs.map((run) => run.phases.find(([name]) => name === 'during')[1])"
    )
    assert starts == [0, 0]
    page.locator(".lanes").nth(1).focus()
    page.keyboard.press("+")
    view(page)
    scales = page.evaluate("window.report.lanes.map((lanes) => lanes.scale)")
    assert scales[0] == scales[1]
    page.evaluate("document.querySelector('#timeline').scrollIntoView()")
    shoot(page, "comparison")


def test_a_run_that_died_half_way(opened: Opened, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "runs", outcome=None)
    for path in (folder.history, folder.journal):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (folder.plan).unlink()
    page = opened(harness.report.write(RunFolder(folder.path)))
    words = page.inner_text("body")
    assert "Unfinished" in words and "plan.json is not there" in words
    assert page.evaluate("window.report.visible") > 0
