"""Makes the checks of isolation from what people give, looked at before a history is spent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.check.budget import limits
from harness.check.isolation.anomalies import implying
from harness.check.isolation.check import Infer, Isolation
from harness.check.isolation.models import ALIASES, ANOMALIES, IMPLIES, canonical, excluded
from harness.errors import UsageError
from harness.units import Duration


def make(
    workload: str,
    infer: Infer,
    consistency_model: str | Iterable[str] | None,
    anomalies: Iterable[str],
    transaction_order: Mapping[int, float] | None,
    timeout: Duration,
    memory: int | None,
) -> Isolation:
    """The check. Raises `UsageError` for what it cannot be made of."""
    models = _models(consistency_model)
    kinds = _anomalies(anomalies)
    judged = frozenset(excluded(models) | implying(kinds))
    if not judged:
        raise UsageError(
            "There is nothing to look for: neither a consistency model nor an anomaly.",
            do='Give e.g. consistency_model="serializable" or anomalies=["G1"].',
        )
    timeout_s, most = limits(timeout, memory)
    return Isolation(
        workload=workload,
        asked=", ".join(models or kinds),
        model=", ".join(models) or None,
        judged=judged,
        infer=infer,
        order=_ranks(transaction_order),
        timeout_s=timeout_s,
        memory=most,
    )


def _models(given: str | Iterable[str] | None) -> tuple[str, ...]:
    """The models by the names that verdicts use."""
    names = [given] if isinstance(given, str) else list(given or ())
    for name in names:
        if not isinstance(name, str) or canonical(name) not in IMPLIES:
            raise UsageError(
                f"consistency_model {name!r} is none that transactions are judged by.",
                do=f"Give one or several of {', '.join(IMPLIES)}, or one of their other names: "
                f"{', '.join(ALIASES)}.",
            )
    return tuple(dict.fromkeys(map(canonical, names)))


def _anomalies(given: str | Iterable[str]) -> tuple[str, ...]:
    names = [given] if isinstance(given, str) else list(given)
    for name in names:
        if name not in ANOMALIES:
            raise UsageError(
                f"anomaly {name!r} is not known.", do=f"Give some of {', '.join(ANOMALIES)}."
            )
    return tuple(dict.fromkeys(names))


def _ranks(order: Mapping[int, float] | None) -> dict[int, float]:
    """Ranks by the index of an op."""
    ranks: dict[int, float] = {}
    for index, rank in (order or {}).items():
        try:
            ranks[int(index)] = float(rank)
        except (TypeError, ValueError):
            raise UsageError(
                f"transaction_order holds {index!r}: {rank!r}.",
                do="Give the index of an op and its rank, e.g. {0: 2, 4: 1}.",
            ) from None
    return ranks
