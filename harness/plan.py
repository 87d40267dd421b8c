"""The plan: everything that is resolved from the seed before anything starts (D2).

The plan, not the seed, is what is carried out and replayed: `plan.json` in the run's folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import seeds
from harness.declare import Experiment
from harness.errors import UnreadableError, UsageError
from harness.faults import Fault, Members, from_json
from harness.record.folder import read_json, write_json
from harness.units import to_seconds

SCHEMA = 1


@dataclass(frozen=True)
class PlannedFault:
    """One fault of the schedule: what, when and for how long; times in seconds after the faults'
    phase began."""

    id: str
    at_s: float
    lasting_s: float
    fault: Fault

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "at_s": self.at_s,
            "lasting_s": self.lasting_s,
            "kind": self.fault.kind,
            "fields": self.fault.to_json(),
        }


@dataclass(frozen=True)
class Plan:
    """What one run will do. The clients' operations follow from `seed` and `workload`."""

    experiment: str
    seed: int
    scale: float
    duration_s: float
    before_s: float
    recovery_s: float
    nodes: Sequence[str]
    target: dict[str, Any]
    workload: dict[str, Any] | None
    faults: Sequence[PlannedFault]
    load: dict[str, Any] | None = None
    steady_state: Sequence[dict[str, Any]] = ()
    stop: Sequence[dict[str, Any]] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "experiment": self.experiment,
            "seed": self.seed,
            "scale": self.scale,
            "duration_s": self.duration_s,
            "before_s": self.before_s,
            "recovery_s": self.recovery_s,
            "nodes": list(self.nodes),
            "target": self.target,
            "workload": self.workload,
            "load": self.load,
            "steady_state": list(self.steady_state),
            "stop": list(self.stop),
            "faults": [fault.to_json() for fault in self.faults],
        }

    def write(self, path: Path) -> None:
        """Write `plan.json`."""
        write_json(path, self.to_json())


def make_plan(experiment: Experiment, name: str, seed: int, scale: float = 1.0) -> Plan:
    """Resolve `experiment` under `seed`. The same arguments give the same plan, byte for byte.

    `scale` multiplies the duration and the moments given with `at`; how often and how long faults
    come stays. Raises `UsageError` if the experiment has faults and none fits into its duration.
    """
    target = experiment.target
    members = Members.of(target)
    duration_s = round(to_seconds(experiment.duration, "duration") * scale, 3)
    found = []
    for number, schedulable in enumerate(experiment.faults):
        rng = seeds.stream(seed, "faults", number)
        occurrences = schedulable.occurrences(rng, members, duration_s, scale)
        if not occurrences:
            kind = getattr(schedulable, "kind", "fault")
            raise UsageError(
                f"No {kind} fits into the experiment's {duration_s:g} s.",
                why="A fault must be injected and healed within the duration.",
                do="Make the duration (or --chaos-scale) larger, or every=, at= and lasting= "
                "smaller.",
            )
        found += occurrences
    found.sort(key=lambda occurrence: occurrence.at_s)
    return Plan(
        experiment=name,
        seed=seed,
        scale=scale,
        duration_s=duration_s,
        before_s=experiment.before_s,
        recovery_s=to_seconds(experiment.recovery, "recovery"),
        nodes=target.all_names,
        target=target.to_json(),
        workload=experiment.workload.to_json() if experiment.workload else None,
        load=experiment.load.to_json() if experiment.load else None,
        steady_state=tuple(probe.to_json() for probe in experiment.steady_state),
        stop=tuple(condition.to_json() for condition in experiment.stop),
        faults=tuple(
            PlannedFault(f"f{number}", found_one.at_s, found_one.lasting_s, found_one.fault)
            for number, found_one in enumerate(found, start=1)
        ),
    )


def read_plan(path: Path) -> Plan:
    """The plan in `plan.json`. Raises `UnreadableError` if it is damaged or of a newer schema."""
    data = read_json(path, "plan", SCHEMA, required=("experiment", "seed", "faults", "nodes"))
    try:
        return Plan(
            experiment=data["experiment"],
            seed=data["seed"],
            scale=data["scale"],
            duration_s=data["duration_s"],
            before_s=data["before_s"],
            recovery_s=data["recovery_s"],
            nodes=tuple(data["nodes"]),
            target=data["target"],
            workload=data["workload"],
            load=data.get("load"),
            steady_state=tuple(data.get("steady_state", ())),
            stop=tuple(data.get("stop", ())),
            faults=tuple(
                PlannedFault(
                    fault["id"],
                    fault["at_s"],
                    fault["lasting_s"],
                    from_json(fault["kind"], fault["fields"]),
                )
                for fault in data["faults"]
            ),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise UnreadableError(
            f"{path} is damaged.",
            why=f"{type(error).__name__}: {error}",
            do="Name the folder of a run, e.g. one that `harness runs` lists.",
        ) from None
