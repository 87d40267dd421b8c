"""Curves over time, and log lines around a moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.report.logs import Log, read_log
from harness.report.reading import Reading, read
from harness.report.series import MAX_POINTS, charts, quantiles, window_s
from tests.support.run_folders import make_run


def test_quantiles_are_those_of_each_window() -> None:
    random = np.random.default_rng(1)
    ends, took = random.uniform(0, 10, 2000), random.lognormal(2, 1, 2000)
    curves = quantiles(ends, took, 2.0, 6)
    for curve, share in zip(curves, (0.5, 0.95, 0.99, 1.0), strict=True):
        for window in range(5):
            inside = took[(ends >= 2 * window) & (ends < 2 * window + 2)]
            expected = np.quantile(inside, share, method="inverted_cdf")
            assert curve.values[window] == pytest.approx(expected, rel=1e-4)
        assert curve.values[5] is None  # nothing ended then: a gap, not zero


def test_windows_are_round_and_hold_enough_to_speak_of_percentiles() -> None:
    assert window_s(10, 100_000) == 0.05
    assert window_s(300, 100_000) == 2
    assert window_s(8, 160) == 1
    assert window_s(10**6, 10**9) > 3600


def test_every_chart_of_a_run(tmp_path: Path) -> None:
    made = charts(read(make_run(tmp_path, load=True)))
    assert [chart.id for chart in made] == [
        "latency", "throughput", "load-latency", "load-rate", "probe-0", "cpu", "rss",
    ]  # fmt: skip
    for chart in made:
        assert all(len(curve.values) == len(chart.x) for curve in chart.curves), chart.id
    throughput = made[1]
    width = throughput.x[1] - throughput.x[0]
    total = sum(value or 0 for curve in throughput.curves for value in curve.values)
    assert total * width == pytest.approx(400, rel=0.01)
    assert (made[4].low, made[4].high) == (None, 0.1)
    assert "at most 0.1 is demanded" in made[4].about
    assert [curve.label for curve in made[5].curves] == ["node-1", "node-2", "node-3"]


def test_a_bare_run_has_no_charts(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    for path in (folder.history, folder.measurements, folder.resources):
        path.unlink()
    assert charts(read(folder)) == []


def test_long_curves_keep_their_peaks(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    lines = [
        f'{{"time":{n * 10**8},"probe":"p","value":{100 if n == 7777 else 1}}}'
        for n in range(10_000)
    ]
    folder.measurements.write_text("\n".join(lines) + "\n")
    (probe,) = (chart for chart in charts(read(folder)) if chart.id.startswith("probe"))
    assert len(probe.x) <= MAX_POINTS
    assert max(value or 0 for value in probe.curves[0].values) == 100


@pytest.fixture
def found(tmp_path: Path) -> Reading:
    """A run that began at 10:55:15 UTC, when the monotonic clock said 5."""
    return read(make_run(tmp_path))


def log_of(found: Reading, *lines: str) -> Log:
    path = found.folder.logs / "node-1.log"
    path.write_text("\n".join(lines) + "\n")
    return read_log(path, found)


@pytest.mark.parametrize(
    "line",
    [
        '{"level":"warn","ts":"2026-11-21T10:55:17.250Z","msg":"x"}',
        "2026-11-21 10:55:17,250 WARNING x",
        "2026-11-21T11:55:17.250000+01:00 x",
        "[2026-11-21 10:55:17.250 UTC] LOG: x",
        "4711:M 21 Nov 2026 10:55:17.250 * x",
        '{"at":7.25,"event":"x"}',
        '{"time": 1795258517.250, "event": "x"}',
        '{"ts":1795258517250,"event":"x"}',
    ],
)
def test_when_a_line_was_written(found: Reading, line: str) -> None:
    log = log_of(found, line)
    assert log.timed
    assert log.times == [pytest.approx(2.25)]


def test_lines_around_a_moment_with_those_that_belong_to_them(found: Reading) -> None:
    at = "2026-11-21T10:55:{:06.3f}Z line {}".format
    log = log_of(found, "no time yet", at(16, 1), "  its trace", at(17, 2), at(19, 3))
    assert [line.split()[-1] for _, line in log.around(0.5, 2.5)] == ["1", "trace", "2"]


def test_lines_that_do_not_say_when_are_not_placed(found: Reading) -> None:
    log = log_of(found, "hello", "1234 bytes", '{"at": 7, "x"', "2026-13-45T99:99:99Z")
    assert log.lines and log.around(-100, 1.9) == []
    assert not log_of(found, "hello", "world").timed


def test_a_run_that_did_not_record_its_clock_takes_it_from_its_events(tmp_path: Path) -> None:
    found = read(make_run(tmp_path))
    found.monotonic_ns = None
    found.told = [{"time": 2 * 10**9, "node": "node-1", "event": "started"}]
    log = log_of(found, '{"at":102.0,"event":"started"}', '{"at":103.5,"event":"x"}')
    assert log.times == [pytest.approx(2.0), pytest.approx(3.5)]
