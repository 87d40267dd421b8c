"""How much Redis loses when its primary is cut off for six seconds, with and without
min-replicas-to-write, over several seeds, as a table:

    python -m targets.redis.measure_loss --seeds 5

It carries out the two experiments that compare it, and reads their runs, which it does not keep.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[2]
EXPERIMENTS = {
    "test_acknowledged_adds_are_lost": "default",
    "test_less_is_lost_by_a_primary_that_wants_replicas": "min-replicas-to-write 1, max-lag 1 s",
}
RUN_TIMEOUT_S = 60.0
"""The most that one run may take; some twelve seconds are usual."""


def carry_out(seeds: int, runs: Path) -> None:
    """Both experiments under so many seeds; their folders come to lie in `runs`. That an
    experiment fails is no error: what it lost is what is asked for."""
    tests = [f"experiments/test_redis.py::{name}" for name in EXPERIMENTS]
    command = [sys.executable, "-m", "pytest", "-q", *tests]
    command += [f"--chaos-seeds={seeds}", f"--chaos-runs-dir={runs}"]
    timeout_s = RUN_TIMEOUT_S * seeds * len(tests)
    subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, timeout=timeout_s, check=False)


def losses(runs: Path) -> dict[str, list[dict[str, Any]]]:
    """What the check `loss` said of each run, by experiment."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in EXPERIMENTS}
    for verdicts in sorted(runs.glob("*/verdicts.json")):
        identity = json.loads((verdicts.parent / "run.json").read_text())
        for one in json.loads(verdicts.read_text())["verdicts"]:
            name = identity["experiment"].rpartition("::")[2]
            if one["check"].startswith("loss(") and one["data"] and name in found:
                found[name].append({"seed": identity["seed"], **one["data"]})
    return found


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """A row for each run, and one for the medians of each experiment."""
    lines = [
        "| settings | seed | acknowledged | lost | share | for |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs in found.items():
        rows: list[tuple[Any, dict[str, Any]]] = [(run["seed"], run) for run in runs]
        if runs:
            keys = ("acknowledged", "lost", "share", "window_s")
            rows.append(("median", {key: median(run[key] for run in runs) for key in keys}))
        lines += [
            f"| {EXPERIMENTS[name]} | {seed} | {run['acknowledged']:g} | {run['lost']:g} "
            f"| {run['share']:.0%} | {run['window_s']:.1f} s |"
            for seed, run in rows
        ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="What a failover of Redis loses.")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each experiment")
    seeds = parser.parse_args(arguments).seeds
    with tempfile.TemporaryDirectory(prefix="redis-loss-") as folder:
        carry_out(seeds, Path(folder))
        sys.stdout.write(f"{table(losses(Path(folder)))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
