"""What an experiment costs around its own duration: cluster up and down, checks, folder.

Budget: 2 s with three Python nodes. Measured through the engine, and as a whole pytest process,
which adds the interpreter, pytest and imports once per session.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fixtures.registers import Registers, RegistersClient
from harness import faults, registers, seconds
from harness.check import available, converged, linearizable
from harness.declare import Experiment
from harness.engine import Run, perform
from harness.plan import make_plan
from harness.record.folder import RunFolder

ROUNDS = 5
DURATION_S = 2.0
BUDGET_S = 2.0

EXPERIMENT = Experiment(
    target=Registers(nodes=3),
    workload=registers(RegistersClient, clients=6, rate=200),
    faults=[faults.netsplit("isolate", who="leader", at=seconds(0.5), lasting=seconds(1))],
    duration=seconds(DURATION_S),
    before=seconds(0),
)

TEST = """
from harness import experiment, faults, registers, seconds
from harness.check import available, converged, linearizable
from fixtures.registers import Registers, RegistersClient


@experiment(
    target=Registers(nodes=3),
    workload=registers(RegistersClient, clients=6, rate=200),
    faults=[faults.netsplit("isolate", who="leader", at=seconds(0.5), lasting=seconds(1))],
    duration=seconds(2),
    before=seconds(0),
)
def test_it(run):
    run.expect(linearizable("cas-register"))
    run.expect(available(at_least=0.2))
    run.expect(converged())
"""


def through_the_engine(folder: Path, seed: int) -> float:
    """Seconds from the plan to the completed folder, without the duration."""
    start = time.perf_counter()
    plan = make_plan(EXPERIMENT, "bench", seed)
    run = Run(EXPERIMENT, plan, RunFolder.create(folder, "bench", seed), "")
    asyncio.run(perform(run))
    for check in (linearizable("cas-register"), available(at_least=0.2), converged()):
        run.expect(check)
    run.tested = True
    outcome, reason = run.conclusion()
    run.end(outcome, reason)
    assert outcome == "passed", reason
    return time.perf_counter() - start - DURATION_S


def through_pytest(folder: Path, seed: int) -> float:
    """Seconds of a pytest process with one such experiment, without the duration."""
    (folder / "test_it.py").write_text(TEST)
    start = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir", str(folder), str(folder)]
    arguments = ["-p", "no:cacheprovider", "--chaos-seed", str(seed)]
    subprocess.run([*command, *arguments], check=True, stdout=subprocess.DEVNULL, timeout=60)
    return time.perf_counter() - start - DURATION_S


def main() -> None:
    print("around an experiment      median s  of budget")
    for name, measure in (("engine", through_the_engine), ("pytest process", through_pytest)):
        with tempfile.TemporaryDirectory() as folder:
            taken = [measure(Path(folder), seed) for seed in range(ROUNDS)]
        median_s = statistics.median(taken)
        print(f"{name:<24}  {median_s:8.2f}  {median_s / BUDGET_S:8.2f}×")


if __name__ == "__main__":
    main()
