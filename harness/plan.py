"""The plan: everything that is resolved from the seed before anything starts (D2).

The plan, not the seed, is what is carried out and replayed: `plan.json` in the run's folder, or a
file that a person keeps and edits. Its operations follow from the seed, or are listed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import seeds
from harness.declare import Experiment
from harness.errors import UnreadableError, UsageError
from harness.faults import Fault, Members, from_json
from harness.record.folder import read_json, write_text
from harness.units import to_seconds
from harness.workload.script import PlannedOp

SCHEMA = 2
"""Version of plans: 2 has `ops`, `about` and `failure`. Readers accept this and older ones."""


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
    """What one run will do. The clients' operations are `ops`; where that is None they follow from
    `seed` and `workload`. `about` is for people, `failure` what the plan is kept for, as
    `harness.failure.Failure` writes it."""

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
    ops: Sequence[PlannedOp] | None = None
    about: str = ""
    failure: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            **({"about": self.about} if self.about else {}),
            **({"failure": self.failure} if self.failure else {}),
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
            **({} if self.ops is None else {"ops": [op.to_json() for op in self.ops]}),
        }

    def write(self, path: Path) -> None:
        """Write the plan as people read and edit it: a fault or an op is a line."""
        write_text(path, _lines(self.to_json()))


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
    """The plan in a file of any schema up to this one. Raises `UnreadableError` if it is damaged or
    newer."""
    data = read_json(path, "plan", SCHEMA, required=("experiment", "seed", "faults", "nodes"))
    ops = data.get("ops")
    place = ""
    try:
        faults = []
        for number, fault in enumerate(data["faults"], start=1):
            place = f" in fault {number}"
            made = from_json(fault["kind"], fault["fields"])
            faults.append(
                PlannedFault(fault["id"], float(fault["at_s"]), float(fault["lasting_s"]), made)
            )
        listed = []
        for number, op in enumerate(ops or (), start=1):
            place = f" in op {number}"
            listed.append(PlannedOp.from_json(op))
        place = ""
        return Plan(
            experiment=data["experiment"],
            seed=data["seed"],
            scale=float(data["scale"]),
            duration_s=float(data["duration_s"]),
            before_s=float(data["before_s"]),
            recovery_s=float(data["recovery_s"]),
            nodes=tuple(data["nodes"]),
            target=data["target"],
            workload=data["workload"],
            load=data.get("load"),
            steady_state=tuple(data.get("steady_state", ())),
            stop=tuple(data.get("stop", ())),
            faults=tuple(faults),
            ops=None if ops is None else tuple(listed),
            about=data.get("about", ""),
            failure=data.get("failure"),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        lacks = isinstance(error, KeyError)
        raise UnreadableError(
            f"{path} is no plan that can be carried out.",
            why=f"It lacks {error}{place}." if lacks else f"{error}{place}.",
            do="Correct the file, or name the folder of a run that `harness runs` lists.",
        ) from None
    except UsageError as error:
        raise UsageError(f"{path}{place}: {error.what}", why=error.why, do=error.do) from None


def _lines(data: dict[str, Any]) -> str:
    """JSON with a line for each field, and for each element of a list of objects."""
    fields = []
    for name, value in data.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            elements = ",\n".join(f"    {_compact(element)}" for element in value)
            fields.append(f'  "{name}": [\n{elements}\n  ]')
        else:
            fields.append(f'  "{name}": {_compact(value)}')
    return "{\n" + ",\n".join(fields) + "\n}\n"


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
