"""The charts of a run: curves over time as plain lists, ready to be drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.report.ops import FAIL, INFO, OK, REFUSED
from harness.report.reading import Reading, listed, mapped, number

if TYPE_CHECKING:
    import numpy as np

WINDOWS = 240
"""About how many windows a run is cut into for percentiles and rates."""

PER_WINDOW = 20
"""How many measurements a window should hold on average."""

MAX_POINTS = 1500
"""Points of a measured curve; of longer ones the highest of each stretch is shown."""

MAX_ROUTES = 8

_NICE = (0.05, 0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)

Values = list[float | None]


@dataclass
class Curve:
    """One line of a chart. `colour` is the number of one in the page's palette, or how ops ended,
    `dash` one of its patterns; `step` holds each value until the next,
    `joined` draws over missing values."""

    label: str
    values: Values
    colour: int | str = 0
    dash: int = 0
    step: bool = False
    joined: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "label": self.label,
            "values": self.values,
            "colour": self.colour,
            "dash": self.dash,
            "step": self.step,
            "joined": self.joined,
        }


@dataclass
class Chart:
    """Curves over one time axis. `low` and `high` are the bounds of what is tolerated; `raw` asks
    for the ops themselves as points."""

    id: str
    title: str
    unit: str
    about: str
    x: list[float]
    curves: list[Curve]
    log: bool = False
    raw: bool = False
    low: float | None = None
    high: float | None = None
    notes: list[str] = field(default_factory=list)

    def to_json(self, offset: float = 0.0) -> dict[str, Any]:
        return {
            "id": self.id,
            "unit": self.unit,
            "x": [round(x + offset, 4) for x in self.x],
            "curves": [curve.to_json() for curve in self.curves],
            "log": self.log,
            "raw": self.raw,
            "low": self.low,
            "high": self.high,
        }


def window_s(length_s: float, count: int) -> float:
    """A round width of window for a run of that length: wide enough that percentiles of `count`
    measurements mean something."""
    least = max(length_s / WINDOWS, PER_WINDOW * length_s / max(count, 1))
    return next((nice for nice in _NICE if nice >= least), least)


def charts(found: Reading) -> list[Chart]:
    """Every chart for which there is something to show, in the order of the page."""
    makers: list[Callable[[Reading], list[Chart]]] = [_latency, _throughput, _load, _probes, _usage]
    return [chart for make in makers for chart in make(found)]


def _grid(found: Reading, measured: int) -> tuple[float, int]:
    """The width of windows and how many there are."""
    end_s = found.end_ns / 1e9
    width = window_s(end_s, measured)
    return width, max(1, math.ceil(end_s / width))


def _latency(found: Reading) -> list[Chart]:
    ops = found.ops
    answered = (ops.ended == OK) | (ops.ended == REFUSED)
    if not bool(answered.any()):
        return []
    width, count = _grid(found, len(ops))
    ends, took = ops.end[answered], (ops.end - ops.start)[answered] * 1000
    told = quantiles(ends, took, width, count)
    about = (
        "Answered ops by the moment of their answer, on a logarithmic scale: percentiles over "
        f"{width:g} s each. Zoomed in far enough, every op is a point."
    )
    x = [(n + 0.5) * width for n in range(count)]
    return [Chart("latency", "Latency of ops", "ms", about, x, told, log=True, raw=True)]


def quantiles(ends: np.ndarray, took_ms: np.ndarray, width: float, count: int) -> list[Curve]:
    """p50, p95, p99 and the maximum of each window. O(n log n)."""
    import numpy as np

    window = np.clip((ends / width).astype(np.int64), 0, count - 1)
    order = np.lexsort((took_ms, window))
    window, took_ms = window[order], took_ms[order]
    starts = np.searchsorted(window, np.arange(count + 1))
    sizes = np.diff(starts)
    held = sizes > 0
    curves = []
    for colour, (label, share) in enumerate(
        (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
    ):
        at = starts[:-1] + np.maximum(np.ceil(share * sizes).astype(np.int64) - 1, 0)
        values = np.where(held, took_ms[np.minimum(at, len(took_ms) - 1)], np.nan)
        curves.append(Curve(label, _plain(np.maximum(values, 0.001)), colour, colour))
    return curves


def _throughput(found: Reading) -> list[Chart]:
    import numpy as np

    ops = found.ops
    if not len(ops):
        return []
    width, count = _grid(found, len(ops))
    ends = np.where(np.isnan(ops.end), ops.start, ops.end)
    window = np.clip((ends / width).astype(np.int64), 0, count - 1)
    curves: list[Curve] = []
    for label, ended, colour in (
        ("ok", OK, "ok"),
        ("mismatch", REFUSED, "refused"),
        ("unavailable", FAIL, "fail"),
        ("unknown", INFO, "info"),
    ):
        rates = np.bincount(window[ops.ended == ended], minlength=count) / width
        if label == "ok" or bool(rates.any()):
            curves.append(Curve(label, _plain(rates), colour, dash=len(curves), step=True))
    about = f"Ops that ended in each {width:g} s, by how they ended."
    x = [n * width for n in range(count)]
    return [Chart("throughput", "Throughput and errors of ops", "ops/s", about, x, curves)]


def _load(found: Reading) -> list[Chart]:
    import numpy as np

    if not found.load:
        return []
    routes: dict[str, list[Any]] = {}
    for sample in found.load:
        routes.setdefault(sample.route, []).append(sample)
    busiest = sorted(routes, key=lambda route: -len(routes[route]))
    shown = sorted(busiest[:MAX_ROUTES])
    width, count = _grid(found, len(found.load) // len(routes))
    p95, rate, failed = [], [], []
    for colour, route in enumerate(shown):
        samples = routes[route]
        ends = np.array([one.time for one in samples], float) / 1e9
        took = np.array([one.duration_s for one in samples], float) * 1000
        inside = (ends >= 0) & (ends <= count * width)
        if not bool(inside.any()):
            continue
        errors = np.array([one.failed for one in samples], bool)
        window = np.clip((ends / width).astype(np.int64), 0, count - 1)
        middle, high = quantiles(ends[inside], took[inside], width, count)[:2]
        p95 += [
            Curve(f"{route} p95", high.values, colour),
            Curve(f"{route} p50", middle.values, colour, dash=2),
        ]
        per_s = np.bincount(window[inside], minlength=count) / width
        rate.append(Curve(route, _plain(per_s), colour, step=True))
        bad = np.bincount(window[inside & errors], minlength=count) / width
        failed.append(Curve(f"{route} failed", _plain(bad), colour, dash=1, step=True))
    notes = []
    if len(busiest) > MAX_ROUTES:
        notes.append(f"The {MAX_ROUTES} busiest of {len(busiest)} routes are shown.")
    middles, edges = [(n + 0.5) * width for n in range(count)], [n * width for n in range(count)]
    about = f"Requests of k6 by route, percentiles over {width:g} s each, with the warm-up."
    rates = f"Requests of k6 that ended in each {width:g} s, and those of them that failed."
    return [
        Chart("load-latency", "Latency of the load", "ms", about, middles, p95, log=True),
        Chart(
            "load-rate", "Throughput and errors of the load", "req/s", rates, edges, rate + failed
        ),
    ]


def _probes(found: Reading) -> list[Chart]:
    bounds = {
        str(one.get("probe")): one
        for one in map(mapped, listed(found.plan.get("steady_state")))
        if "probe" in one
    }
    series: dict[str, list[dict[str, Any]]] = {}
    for one in found.measurements:
        series.setdefault(str(one.get("probe")), []).append(one)
    made = []
    for place, (probe, measured) in enumerate(series.items()):
        bound = bounds.get(probe, {})
        low, high = number(bound.get("at_least")), number(bound.get("at_most"))
        x = [one["time"] / 1e9 for one in measured]
        values = [number(one.get("value")) for one in measured]
        if not any(value is not None for value in values):
            continue
        told = [f"at least {low:g}" if low is not None else ""]
        told.append(f"at most {high:g}" if high is not None else "")
        demanded = " and ".join(word for word in told if word)
        about = (
            f"Steady state: {demanded} is demanded (before the faults, and again after the "
            "healing); outside is shaded."
            if demanded
            else "Measured for a stop condition; the steady state does not ask for it."
        )
        times, curves = _thinned(x, [Curve(probe, values, 0)])
        chart = Chart(f"probe-{place}", f"Probe {probe}", "", about, times, curves)
        chart.low, chart.high = low, high
        made.append(chart)
    return made


def _usage(found: Reading) -> list[Chart]:
    if not found.resources:
        return []
    times = sorted({one["time"] for one in found.resources})
    place = {time: n for n, time in enumerate(times)}
    cpu: dict[str, Values] = {}
    rss: dict[str, Values] = {}
    for one in found.resources:
        node = str(one.get("node"))
        percent, held = number(one.get("cpu_percent")), number(one.get("rss_bytes"))
        cpu.setdefault(node, [None] * len(times))[place[one["time"]]] = percent
        mib = None if held is None else round(held / 2**20, 1)
        rss.setdefault(node, [None] * len(times))[place[one["time"]]] = mib
    x = [time / 1e9 for time in times]
    every = "once a second; 100 % is one core."
    made = []
    for id, title, unit, about, series in (
        ("cpu", "CPU of each node", "%", f"All processes of a node, {every}", cpu),
        ("rss", "Memory of each node", "MiB", "Resident memory, once a second.", rss),
    ):
        curves = [
            Curve(node, series[node], n, n // 8) for n, node in enumerate(_sorted(found, series))
        ]
        spread, thinned = _thinned(x, curves)
        made.append(Chart(id, title, unit, about, spread, thinned))
    return made


def _sorted(found: Reading, series: dict[str, Values]) -> list[str]:
    order = {node: n for n, node in enumerate(found.nodes)}
    return sorted(series, key=lambda node: (order.get(node, len(order)), node))


def _thinned(x: list[float], curves: list[Curve]) -> tuple[list[float], list[Curve]]:
    """The same with at most MAX_POINTS points: of each stretch the highest value."""
    if len(x) <= MAX_POINTS:
        return x, curves
    step = math.ceil(len(x) / MAX_POINTS)
    starts = range(0, len(x), step)
    for curve in curves:
        parts: Sequence[Values] = [curve.values[n : n + step] for n in starts]
        curve.values = [max((v for v in part if v is not None), default=None) for part in parts]
    return [x[n] for n in starts], curves


def _plain(values: np.ndarray) -> Values:
    """Numbers for JSON, rounded; not-a-number becomes None, a gap."""
    return [None if value != value else float(f"{value:.5g}") for value in values.tolist()]
