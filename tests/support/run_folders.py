"""Folders of runs as the harness writes them, made up: for tests of what reads them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from harness.record.folder import RunFolder, write_json

S = 1_000_000_000
"""Nanoseconds in a second."""

STARTED = "2026-11-21T10:55:15+00:00"
STARTED_UNIX = 1795258515


def make_run(
    runs_dir: Path,
    *,
    name: str = "20261121T105515Z-test_made_up-1",
    experiment: str = "experiments/test_made_up.py::test_made_up",
    outcome: str | None = "failed",
    reason: str = "linearizable(cas-register): invalid, expected valid.",
    ops: int = 400,
    nodes: int = 3,
    faults: int = 2,
    clients: int = 5,
    duration_s: float = 8.0,
    seed: int = 1,
    load: bool = False,
    note: str = "",
) -> RunFolder:
    """A run of `duration_s` seconds under faults that take turns, with an anomaly in the middle of
    it. `note` is put wherever a system may leave text: values, errors, log lines, evidence."""
    folder = RunFolder(runs_dir / name)
    folder.logs.mkdir(parents=True)
    maker = _Maker(folder, random.Random(seed), nodes, clients, faults, duration_s, note)
    maker.history(ops)
    maker.journal(outcome, reason)
    maker.measured()
    maker.logs()
    if load:
        maker.load()
    maker.judged(outcome)
    maker.identity(experiment, outcome, reason, seed)
    return folder


class _Maker:
    def __init__(
        self,
        folder: RunFolder,
        random: random.Random,
        nodes: int,
        clients: int,
        faults: int,
        duration_s: float,
        note: str,
    ) -> None:
        self.folder, self.random, self.note = folder, random, note
        self.nodes = [f"node-{n + 1}" for n in range(nodes)]
        self.clients = clients
        self.duration = int(duration_s * S)
        self.during = (S, S + int(0.8 * self.duration))
        self.end = S + self.duration
        self.phases = [
            ["up", 0, S // 2],
            ["before", S // 2, self.during[0]],
            ["during", *self.during],
            ["after", self.during[1], self.end - S // 10],
            ["final", self.end - S // 10, self.end],
            ["down", self.end, self.end + S // 2],
        ]
        self.faults = [self._fault(n, faults) for n in range(faults)]
        self.evidence: list[dict[str, Any]] = []
        self.counts = {"ok": 0, "fail": 0, "info": 0}

    def _fault(self, number: int, of: int) -> dict[str, Any]:
        kind = ("netsplit", "kill", "pause", "latency")[number % 4]
        node = self.nodes[number % len(self.nodes)]
        slot = (self.during[1] - self.during[0]) // of
        start = self.during[0] + number * slot + slot // 5
        words = {"netsplit": f"netsplit isolate {node}", "latency": f"latency 90 ms {node}"}
        return {
            "id": f"f{number + 1}",
            "kind": kind,
            "what": words.get(kind, f"{kind} {node}"),
            "nodes": [node],
            "start": start,
            "healing": start + slot // 2,
            "healed": start + slot // 2 + min(S // 5, slot // 8),
        }

    def history(self, count: int) -> None:
        """Clients that take turns; under a fault its node's ops are slow, fail or get lost."""
        lines: list[tuple[int, int, dict[str, Any]]] = []
        process = list(range(self.clients))
        step = (self.end - S // 2) * self.clients // count
        free = [S // 2 + n * step // self.clients for n in range(self.clients)]
        for number in range(count):
            client = number % self.clients
            start = free[client]
            f = self.random.choice(["read", "read", "write", "cas"])
            node = self.nodes[client % len(self.nodes)]
            took = min(int(self.random.lognormvariate(14.5, 0.6)), step * 9 // 10)
            kind, error = "ok", None
            if f == "cas" and self.random.random() < 0.3:
                kind, error = "fail", "mismatch"
            if any(x["start"] <= start < x["healing"] and node in x["nodes"] for x in self.faults):
                lot = self.random.random()
                if lot < 0.5:
                    kind, error = ("info" if lot < 0.2 else "fail"), f"timeout {self.note}".strip()
                    took = step * 9 // 10
            value = None if f == "read" else [1, number] if f == "cas" else number
            opened: dict[str, Any] = {
                "process": process[client],
                "f": f,
                "key": f"r{number % 5}{self.note}",
                "value": value,
                "node": node,
            }
            done = {**opened, "type": kind}
            if f == "read" and kind == "ok":
                done["value"] = number // 2
            if error is not None:
                done["error"] = error
            lines.append((start, 2 * number, {**opened, "type": "invoke", "op": number}))
            lines.append((start + took, 2 * number + 1, {**done, "op": number}))
            free[client] = start + max(step, took + 1000)
            self.counts[kind] += 1
            if kind == "info":
                process[client] += self.clients + len(self.nodes)
        self._write_history(sorted(lines, key=lambda line: line[:2]), count)

    def _write_history(self, lines: list[tuple[int, int, dict[str, Any]]], count: int) -> None:
        shown = {count // 2, count // 2 + 1, count // 2 + 3}
        opened: dict[int, dict[str, Any]] = {}
        with self.folder.history.open("w") as file:
            for index, (time, _, line) in enumerate(lines):
                op = line.pop("op")
                if op in shown and line["type"] == "invoke":
                    opened[op] = {"index": index, "start": time, **line}
                file.write(json.dumps({"index": index, "time": time, **line}) + "\n")
        self.evidence = [opened[op] for op in sorted(opened)]

    def journal(self, outcome: str | None, reason: str) -> None:
        events: list[dict[str, Any]] = [{"time": 0, "event": "run"}]
        events += [
            {"time": S // 2, "event": "node", "step": "started", "node": n} for n in self.nodes
        ]
        events += [{"time": at, "event": "phase", "phase": name} for name, at, _ in self.phases]
        for one in self.faults:
            told = {"event": "fault", "id": one["id"]}
            asked = {"kind": one["kind"], "what": one["what"], "asked_s": 1.0}
            steps: list[dict[str, Any]] = [
                {"time": one["start"] - S // 50, **told, "step": "asked", **asked},
                {"time": one["start"], **told, "step": "injected", "nodes": one["nodes"]},
                {"time": one["start"] + S // 50, **told, "step": "proved", "proof": {}},
                {"time": one["healing"], **told, "step": "healing"},
                {"time": one["healed"], **told, "step": "healed", "proof": {}},
            ]
            events += steps
        if outcome is not None:
            events.append(
                {"time": self.end + S, "event": "end", "outcome": outcome, "reason": reason}
            )
        events.sort(key=lambda event: event["time"])
        self._lines(self.folder.journal, events)

    def measured(self) -> None:
        times = range(S // 2, self.end, S // 5)
        measured = [
            {"time": at, "probe": "error_rate", "value": self.random.random() / 8, "within": True}
            for at in times
        ]
        self._lines(self.folder.measurements, measured)
        used = [
            {"time": at, "node": node, "cpu_percent": self.random.random() * 80, "rss_bytes": 10**8}
            for at in range(S // 2, self.end, S)
            for node in self.nodes
        ]
        self._lines(self.folder.resources, used)

    def logs(self) -> None:
        """Each node says something ten times a second, in the time of day."""
        for node in self.nodes:
            with (self.folder.logs / f"{node}.log").open("w") as file:
                for at in range(0, self.end, max(S // 10, self.end // 3000)):
                    second, rest = divmod(at, S)
                    minute, second = divmod(15 + second, 60)
                    clock = f"10:{55 + minute:02}:{second:02}.{rest // 1_000_000:03}Z"
                    file.write(f'{{"ts":"2026-11-21T{clock}","msg":"{node} lives {self.note}"}}\n')

    def load(self) -> None:
        """k6's time series: two routes, one request in 40 ms each."""
        self.folder.load.mkdir()
        head = "metric_name,timestamp,metric_value,expected_response,name,status,url,extra_tags"
        rows = [head]
        for at in range(S // 2, self.end, 40_000_000):
            for route in ("feed", "charge"):
                took = self.random.lognormvariate(2.5, 0.4)
                good = "true" if self.random.random() > 0.05 else "false"
                unix = STARTED_UNIX * S + at
                tags = f"{good},{route},200,{route},window=judged"
                rows.append(f"http_req_duration,{unix},{took:.6f},{tags}")
        (self.folder.load / "samples.csv").write_text("\n".join(rows) + "\n")

    def judged(self, outcome: str | None) -> None:
        if outcome is None:
            return
        found = outcome == "failed"
        verdicts: list[dict[str, Any]] = [
            {
                "check": "available(at_least=0.5)",
                "result": "valid",
                "summary": "96 % were answered.",
            }
        ]
        if found:
            summary = (
                f"Key 'r0': process 2 read 1, but 2 had been acknowledged. {self.note}".strip()
            )
            data = {"ops": self.evidence, "blocked": self.evidence[-1]["index"], "key": "r0"}
            verdicts.append(
                {
                    "check": "linearizable(cas-register)",
                    "model": "cas-register",
                    "result": "invalid",
                    "anomaly": "nonlinearizable",
                    "summary": summary,
                    "evidence": f"{summary}\n  the ops, in time order {self.note}",
                    "ops": 400,
                    "data": data,
                }
            )
            picture = '<svg xmlns="http://www.w3.org/2000/svg" width="300" height="40"/>'
            self.folder.evidence(2).write_text(picture)
        for one in verdicts:
            one.setdefault("expected", "valid")
        write_json(self.folder.verdicts, {"schema": 1, "verdicts": verdicts})

    def identity(self, experiment: str, outcome: str | None, reason: str, seed: int) -> None:
        bites = [
            {"id": f["id"], "what": f["what"], "ops": 20, "disturbed": 8, "usual": 0.01}
            for f in self.faults
        ]
        plan_faults = [
            {"id": f["id"], "kind": f["kind"], "at_s": (f["start"] - self.during[0]) / S,
             "lasting_s": (f["healing"] - f["start"]) / S, "fields": {"who": f["nodes"][0]}}
            for f in self.faults
        ]  # fmt: skip
        steady = [{"probe": "error_rate", "at_least": None, "at_most": 0.1}]
        write_json(
            self.folder.plan,
            {
                "schema": 1,
                "experiment": experiment,
                "seed": seed,
                "duration_s": 0.8 * self.duration / S,
                "nodes": self.nodes,
                "target": {"name": "made-up", "nodes": len(self.nodes), "mutant": None},
                "workload": {"name": "registers", "clients": self.clients, "rate": 200},
                "steady_state": steady,
                "faults": plan_faults,
            },
        )
        self.folder.write_identity(
            {
                "experiment": experiment,
                "seed": seed,
                "runtime": "process",
                "started": STARTED,
                "clock": {"unix_ns": STARTED_UNIX * S, "monotonic_ns": 5 * S},
                "duration_s": self.end / S,
                "outcome": outcome,
                "reason": reason if outcome == "failed" else "",
                "ops": self.counts,
                "faults": len(self.faults),
                "nodes": self.nodes,
                "phases": self.phases if outcome is not None else [],
                "bites": bites if outcome is not None else [],
                "recovered_s": 0.2,
                "versions": {"harness": "0.1.0", "made-up": "1"},
                "replay": f"pytest '{experiment}' --chaos-replay runs/{self.folder.path.name}",
            }
        )

    def _lines(self, path: Path, lines: list[dict[str, Any]]) -> None:
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
