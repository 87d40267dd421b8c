"""What k6 says in the end (`summary.json`), as verdicts: one for each threshold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from harness.check.verdict import Verdict
from harness.load.exits import Log, plain_name

_REQUESTS = ("http_reqs", "ws_sessions")
"""What k6 counts of those that ask something of a node."""

_MEASURED = re.compile(r"\s*(p\([\d.]+\)|[a-z]+)")


def read_verdicts(path: Path, log: Log) -> list[Verdict]:
    """The verdicts of a summary that k6 wrote; an `unknown` one if there is none to be read."""
    try:
        metrics = orjson.loads(path.read_bytes())["metrics"]
        verdicts = [*threshold_verdicts(metrics), *load_verdicts(metrics, log)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        summary = "k6 left no summary, so that nothing is known of its thresholds."
        evidence = f"{path.name}: {type(error).__name__}: {error}"
        verdicts = [Verdict("k6(summary)", "unknown", summary, evidence)]
    if log.mark is not None:
        summary = f"The script called test.fail(): {log.mark or 'no reason given'}."
        verdicts.append(Verdict("k6(test.fail)", "invalid", summary, anomaly="test.fail"))
    return verdicts


def threshold_verdicts(metrics: Mapping[str, Any]) -> Iterator[Verdict]:
    """One verdict for each threshold, in the order of their names."""
    for metric in sorted(metrics):
        for expression, threshold in metrics[metric].get("thresholds", {}).items():
            yield _verdict(metric, expression, threshold["ok"], metrics[metric])


def load_verdicts(metrics: Mapping[str, Any], log: Log) -> Iterator[Verdict]:
    """An `unknown` verdict for a load that was none: without a request, or with an exception at
    the end of each iteration."""
    if not any(_total(metrics, counter) for counter in _REQUESTS):
        yield Verdict("k6(requests)", "unknown", "k6 made no request at all.")
    iterations = _total(metrics, "iterations")
    if iterations and log.thrown >= iterations:
        summary = (
            f"Each of the {iterations} iterations ended with an exception, so that the load was "
            "not what its script means."
        )
        yield Verdict("k6(script)", "unknown", summary, log.first)


def _verdict(metric: str, expression: str, ok: bool, what: Mapping[str, Any]) -> Verdict:
    check = f"k6({plain_name(metric)}: {expression})"
    values = what["values"]
    samples = _count(what["type"], values)
    found = _MEASURED.match(expression)
    name = found[1] if found else ""
    measured = values.get(name)
    data = {"metric": plain_name(metric), "threshold": expression, "value": measured}
    if samples == 0:
        return Verdict(check, "unknown", "Nothing was measured in the judged window.", data=data)
    unit = " ms" if what.get("contains") == "time" and name != "count" else ""
    said = "k6 does not say the value" if measured is None else f"{name} was {measured:g}{unit}"
    over = "" if samples is None else f" over {samples} samples"
    return Verdict(
        check,
        "valid" if ok else "invalid",
        f"{'Kept' if ok else 'Not kept'}: {said}{over}.",
        evidence=", ".join(f"{name} {value:g}" for name, value in sorted(values.items())),
        anomaly=None if ok else "threshold",
        data=data,
    )


def _count(kind: str, values: Mapping[str, float]) -> int | None:
    """How many samples there were; None where k6 does not say, as of counters and gauges, of which
    zero may be the good answer."""
    if kind == "trend":
        return int(values["count"])
    if kind == "rate":
        return int(values["passes"] + values["fails"])
    return None


def _total(metrics: Mapping[str, Any], counter: str) -> int:
    return int(metrics.get(counter, {}).get("values", {}).get("count", 0))
