"""What reports cost: making one, opening it in a browser, and moving about in it.

The large run is what somebody leaves behind who works on five nodes for five minutes under twenty
faults: 100,000 ops. Budgets: it opens in 2 s, and is painted anew in 50 ms; the report of a usual
run (2,000 ops) is made in 150 ms. Ratios are against reading the history.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness.report
from harness.history import History
from harness.record.folder import RunFolder
from tests.support.run_folders import make_run

REPEATS = 5
STEPS = 40


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        runs = Path(name)
        usual = make_run(runs, name="usual", ops=2_000, duration_s=20, load=True)
        large = make_run(
            runs,
            name="large",
            ops=100_000,
            nodes=5,
            faults=20,
            clients=20,
            duration_s=300,
            load=True,
        )
        folders = {"2,000 ops": usual, "100,000 ops": large}
        print(f"{'making a report':<34}{'time':>10}{'size':>12}{'against reading the history':>30}")
        for title, folder in folders.items():
            making(title, folder)
        print(f"{'the first in a new process':<34}{cold(usual):>8.0f} ms")
        print()
        in_browser(folders)


def making(title: str, folder: RunFolder) -> None:
    read = median(lambda: History.read(folder.history))
    made = median(lambda: harness.report.write(folder))
    size = (folder.path / "report.html").stat().st_size / 1024
    print(f"{title:<34}{made:>8.0f} ms{size:>8.0f} KiB{made / read:>29.1f}×")


def median(do: Any) -> float:
    """What `do` takes, in milliseconds."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        do()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def cold(folder: RunFolder) -> float:
    """The same as the first thing that a process does, with all imports, in milliseconds."""
    code = (
        "import sys, time; began = time.perf_counter(); import pathlib, harness.report;"
        "from harness.record.folder import RunFolder;"
        "harness.report.write(RunFolder(pathlib.Path(sys.argv[1])));"
        "print((time.perf_counter() - began) * 1000)"
    )
    command = [sys.executable, "-c", code, str(folder.path)]
    return float(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)


def in_browser(folders: dict[str, RunFolder]) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if chromium is None:
        print("Nothing was opened: that needs Playwright and Chromium.")
        return
    with sync_playwright() as driver:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = driver.chromium.launch(executable_path=chromium, args=options, timeout=20_000)
        browser.new_page().close()  # the first page pays for the browser's own start
        print(
            f"{'in Chromium, without a GPU':<34}{'open':>10}{'paint':>12}{'worst':>12}{'ops':>12}"
        )
        for title, folder in folders.items():
            told = [opening(browser, folder) for _ in range(REPEATS)]
            opened = statistics.median(one["openMs"] for one in told)
            paints = [ms for one in told for ms in one["paints"]]
            seen = max(one["seen"] for one in told)
            print(
                f"{title:<34}{opened:>7.0f} ms{statistics.median(paints):>9.1f} ms"
                f"{max(paints):>9.1f} ms{seen:>12}"
            )
        browser.close()


def opening(browser: Any, folder: RunFolder) -> dict[str, Any]:
    """From the navigation to the page with everything painted; then zooming into the run and moving
    through it, with what each painting took."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(30_000)
    page.goto((folder.path / "report.html").resolve().as_uri())
    page.wait_for_selector("html.ready")
    page.evaluate("document.querySelector('#timeline').scrollIntoView()")
    told: dict[str, Any] = json.loads(
        page.evaluate(
            """async (steps) => {
              const { report } = window, end = report.runs[0].end, paints = [];
              const frame = () => new Promise((done) => requestAnimationFrame(() => done()));
              await frame();
              let seen = 0;
              for (let step = 0; step < steps; step++) {
                const width = end * 0.5 ** (step % 10), at = (end - width) * (step / steps);
                const before = report.paints;
                report.zoomTo(at, at + width);
                while (report.paints === before) await frame();
                paints.push(report.paintMs);
                seen = Math.max(seen, report.visible);
              }
              return JSON.stringify({ openMs: report.openMs, paints, seen });
            }""",
            STEPS,
        )
    )
    page.close()
    return told


if __name__ == "__main__":
    main()
