"""Linearizability beside Porcupine, on the same histories: seconds to judge, without the reading.

Porcupine (in Go) searches; where written values are unique the harness decides registers without a
search. `porcupine/main.go` is built here with Go's tools; without them this says so and ends.
"""

from __future__ import annotations

import random
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import orjson

from harness.check import linearizable
from harness.formats import read
from tests.support.histories import GOLDEN

HERE = Path(__file__).parent
REPEATS = 5  # of what takes milliseconds; the best counts
LIMIT_S = 60
MEMORY = 8 * 2**30

SIZES = (1_000, 10_000, 100_000, 1_000_000)
CLIENTS = 10


def main() -> None:
    if shutil.which("go") is None:
        print("Go is not installed: nothing to compare with.")
        return
    with tempfile.TemporaryDirectory() as folder:
        beside = Path(folder) / "beside"
        subprocess.run(
            ["go", "build", "-o", str(beside), "."], cwd=HERE / "porcupine", check=True, timeout=300
        )
        _published(beside)
        print(f"\nunique values, one key, {CLIENTS} clients ({LIMIT_S} s, {MEMORY >> 30} GiB)")
        print(f"{'history':24} {'ops':>8} {'reading':>9} {'harness':>18} {'Porcupine':>18}")
        for cas in (False, True):
            for lies in (0, 1):
                for ops in SIZES:
                    _unique(beside, Path(folder) / "history.jsonl", ops, cas, lies)


def _published(beside: Path) -> None:
    logs = sorted((GOLDEN / "porcupine" / "etcd").glob("*.log"))
    if not logs:
        print(f"no published logs at {GOLDEN}")
        return
    theirs = sum(seconds for _, seconds in _porcupine(beside, logs, REPEATS).values())
    ours = 0.0
    for log in logs:
        history = read(log)
        ours += min(_judge("cas-register", history)[1] for _ in range(REPEATS))
    print(
        f"{len(logs)} etcd logs of Jepsen: harness {ours * 1e3:.1f} ms, "
        f"Porcupine {theirs * 1e3:.1f} ms, ratio {ours / theirs:.2f} (at most 5 is demanded)"
    )


def _unique(beside: Path, path: Path, ops: int, cas: bool, lies: int) -> None:
    write_unique(path, ops, cas=cas, lies=lies)
    began = time.perf_counter()
    history = read(path)
    reading_s = time.perf_counter() - began
    result, ours_s = _judge("cas-register", history)
    del history
    theirs, theirs_s = _porcupine(beside, [path], 1).get(path, ("out of memory", 0.0))
    took = "" if theirs == "out of memory" else f" {theirs_s:.3f} s"
    name = f"{'cas-register' if cas else 'register'}{', stale read' if lies else ''}"
    print(
        f"{name:24} {ops:8} {reading_s:7.2f} s {f'{result} {ours_s:.3f} s':>18} "
        f"{theirs + took:>18}",
        flush=True,
    )


def _judge(model: str, history: object) -> tuple[str, float]:
    began = time.perf_counter()
    verdict = linearizable(model, timeout=10 * LIMIT_S)(history)  # type: ignore[arg-type]
    return verdict.result, time.perf_counter() - began


def _porcupine(beside: Path, paths: list[Path], repeats: int) -> dict[Path, tuple[str, float]]:
    """What Porcupine says of each file and in how many seconds; nothing of those it died of."""
    done = subprocess.run(
        [beside, f"{LIMIT_S}s", str(repeats), *paths],
        capture_output=True,
        text=True,
        timeout=10 * LIMIT_S,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )
    found = {}
    for line in done.stdout.splitlines():
        path, result, seconds = line.split("\t")
        found[Path(path)] = (result, float(seconds))
    return found


def write_unique(path: Path, ops: int, *, cas: bool, lies: int, seed: int = 7) -> None:
    """A history of one key whose written values are all different, as JSON Lines.

    Each client has one op open at a time, which takes effect at a random moment in between. A lie
    is a read, in the last tenth, of the value that was there a hundred writes before.
    """
    stream = random.Random(seed)
    past = [-1]
    todo: list[list[object]] = []  # [process, f, value, effect taken, result]
    idle = list(range(CLIENTS))
    begun = index = 0
    with path.open("wb") as file:

        def record(process: object, kind: str, f: object, value: object, error: str | None) -> None:
            nonlocal index
            line = {"index": index, "time": index * 1000, "process": process, "type": kind, "f": f}
            line |= {"key": "x", "value": value}
            file.write(orjson.dumps(line | ({"error": error} if error else {})) + b"\n")
            index += 1

        record(0, "invoke", "write", past[0], None)
        record(0, "ok", "write", past[0], None)
        while begun < ops or todo:
            if begun < ops and idle and stream.random() < 0.4:
                f = stream.choice(("read", "write", "cas") if cas else ("read", "write"))
                expected = past[-1] if stream.random() < 0.8 else stream.choice(past[-20:])
                value = {"read": None, "write": begun, "cas": [expected, begun]}[f]
                process = idle.pop(stream.randrange(len(idle)))
                record(process, "invoke", f, value, None)
                todo.append([process, f, value, False, None])
                begun += 1
            elif todo:
                place = stream.randrange(len(todo))
                op = todo[place]
                process, f, value = op[:3]
                if not op[3]:
                    op[3], op[4] = True, value
                    if f == "read":
                        op[4] = past[-1]
                        if lies and begun > ops * 0.9:
                            lies, op[4] = lies - 1, past[-100]
                    elif f == "write":
                        past.append(value)  # type: ignore[arg-type]
                    elif past[-1] == value[0]:  # type: ignore[index]
                        past.append(value[1])  # type: ignore[index]
                    else:
                        op[4] = "mismatch"
                    continue
                todo.pop(place)
                idle.append(process)  # type: ignore[arg-type]
                refused = op[4] == "mismatch"
                record(
                    process,
                    "fail" if refused else "ok",
                    f,
                    value if refused else op[4],
                    "mismatch" if refused else None,
                )


if __name__ == "__main__":
    main()
