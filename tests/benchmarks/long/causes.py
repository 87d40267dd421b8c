"""From every mutant to its cause: found, replayed ten times, shrunk, by the documented commands.

    python tests/benchmarks/long/causes.py etcd redis payments [--minutes 4] [--only MUTANT]

For each mutant the first experiment that must catch it is run until it does (two seeds at most),
its run is replayed (`harness replay --times 10`) and shrunk (`harness shrink --minutes M`). A line
for each: how many replays failed the same way, faults and ops before and after, the failure rate
of what was shrunk, and the seconds that each of the three took. Takes minutes for each mutant, so
it is no part of `make bench`.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from harness import mutants
from harness.catalogue import target_named
from harness.failure import failures
from harness.record.folder import RunFolder

ROOT = Path(__file__).parents[3]
FLAW = "(the flaw itself)"


@dataclass
class Case:
    """A mutant, or None for a flaw of the sound target, and the experiment that finds it."""

    target: str
    mutant: str | None
    experiment: str
    check: str = ""
    """The beginning of the name of what must find it."""


def cases(target: str, only: list[str]) -> list[Case]:
    """The mutants of a target that an experiment must catch."""
    found = mutants.collect(target, ["experiments"])
    chosen: dict[str, Case] = {}
    for one in found:
        for mutant, check in one.experiment.catches.items():
            chosen.setdefault(mutant, Case(target, mutant, one.id, check))
    order = [name for name in target_named(target).mutants if name in chosen]
    return [chosen[name] for name in order if not only or name in only]


def run(*words: str, timeout_s: float) -> tuple[str, float]:
    """The output of a command of this project, and how long it took."""
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
    )
    return done.stdout, time.monotonic() - begun


def from_failure_to_cause(case: Case, minutes: float, times: int, jobs: int, runs: Path) -> str:
    """One line of the table."""
    name = f"{case.target} {case.mutant or FLAW}"
    options = [f"--chaos-runs-dir={runs}", "-q"]
    options += [f"--chaos-mutant={case.mutant}"] if case.mutant else []
    folder, found_s, tries = None, 0.0, 0
    while folder is None and tries < 2:
        tries += 1
        before = set(runs.glob("*/run.json"))
        _, took_s = run("pytest", case.experiment, *options, timeout_s=600)
        found_s += took_s
        for path in set(runs.glob("*/run.json")) - before:
            shown = failures(RunFolder(path.parent))
            if shown and shown[0].check.startswith(case.check):
                folder = path.parent
    if folder is None:
        return f"| {name} | not found in {tries} runs |"
    words = ["harness", "replay", str(folder), f"--times={times}", f"--jobs={jobs}"]
    replayed, replay_s = run(*words, f"--runs-dir={runs}", timeout_s=3600)
    same = re.search(r"(\d+ of \d+) failed the same way", replayed)
    words = ["harness", "shrink", str(folder), f"--minutes={minutes}", f"--jobs={jobs}"]
    shrunk, shrink_s = run(*words, timeout_s=minutes * 60 + 900)
    sizes = re.search(r"faults (\d+ → \d+), ops (\d+) → (\d+), (.*)", shrunk)
    rates = re.findall(r"reproduced (\d+ of \d+)", shrunk)
    used = re.search(r"^  (\d+ runs)", shrunk, re.MULTILINE)
    replays = same[1] if same else replayed.strip().splitlines()[-1]
    if sizes is None:
        told = shrunk.strip().splitlines()[-1]
        return f"| {name} | {found_s:.0f} s | {replays} in {replay_s:.0f} s | {told} |"
    share = int(sizes[3]) / max(1, int(sizes[2]))
    return (
        f"| {name} | {found_s:.0f} s | {replays} in {replay_s:.0f} s | {sizes[1]} | "
        f"{sizes[2]} → {sizes[3]} ({share:.0%}) | {sizes[4]} | {rates[-1]} | "
        f"{used[1] if used else ''} in {shrink_s:.0f} s |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="+")
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--flaw", action="append", default=[], metavar="EXPERIMENT")
    arguments = parser.parse_args()
    print("| | found in | replays | faults | ops | length | shrunk plan | shrunk by |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    todo = [case for name in arguments.targets for case in cases(name, arguments.only)]
    todo += [Case("flaw", None, experiment) for experiment in arguments.flaw]
    for case in todo:
        with tempfile.TemporaryDirectory(prefix="causes-") as folder:
            print(
                from_failure_to_cause(
                    case, arguments.minutes, arguments.times, arguments.jobs, Path(folder)
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
