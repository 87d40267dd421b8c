"""Figures of a load, for each route in each phase."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from harness.history import Phase
from harness.timeline import LoadSample

_NS_PER_S = 10**9


def figures(
    samples: Iterable[LoadSample], phases: Sequence[Phase]
) -> dict[str, dict[str, dict[str, float]]]:
    """For each route and phase: `count`, `p50_ms`, `p95_ms`, `p99_ms` and `error_rate`.

    A request belongs to the phase it began in, like an op. The percentiles are over all requests,
    as in k6: a time-out counts with the time it took, a refused connection with next to none, so
    read them beside the error rate. O(n log n).
    """
    groups: dict[tuple[str, str], list[LoadSample]] = defaultdict(list)
    for sample in samples:
        began = sample.time - round(sample.duration_s * _NS_PER_S)
        for phase in phases:
            if phase.start <= began < phase.end:
                groups[sample.route, phase.name].append(sample)
    answer: dict[str, dict[str, dict[str, float]]] = {}
    for route in sorted({route for route, _phase in groups}):
        answer[route] = {
            phase.name: _of(groups[route, phase.name])
            for phase in phases
            if (route, phase.name) in groups
        }
    return answer


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The nearest rank: the smallest of `ordered` (ascending, not empty) that at least `percent` %
    of them do not exceed. Always a value that was measured, whereas k6 interpolates between two."""
    rank = math.ceil(percent * len(ordered) / 100)
    return ordered[max(rank, 1) - 1]


def _of(samples: Sequence[LoadSample]) -> dict[str, float]:
    durations_ms = sorted(sample.duration_s * 1000 for sample in samples)
    return {
        "count": len(samples),
        "p50_ms": percentile(durations_ms, 50),
        "p95_ms": percentile(durations_ms, 95),
        "p99_ms": percentile(durations_ms, 99),
        "error_rate": sum(sample.failed for sample in samples) / len(samples),
    }
