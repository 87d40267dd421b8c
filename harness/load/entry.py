"""What k6 is given to run: a generated script around the user's own, which stays as it is."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import BrokenError, UsageError
from harness.load.command import clean_environment, variable_flags
from harness.load.exits import bad_script
from harness.load.script import K6
from harness.parts.program import run_program

_INSPECT_TIMEOUT_S = 15.0  # it takes less than 0.1 s
_PRELUDE = Path(__file__).with_name("prelude.js")
_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")

# What k6 says of a script that has no load of its own: one iteration.
_NO_LOAD = {"executor": "per-vu-iterations", "iterations": None, "vus": None}
_SHORTCUTS = ("vus", "duration", "iterations", "stages")

_STALL_S = 5
"""How long the nodes may give no answer before the load of a `rate` runs out of virtual users."""


def inspect(k6: Path, load: K6, variables: Mapping[str, str]) -> dict[str, Any]:
    """The options of the script, in k6's words. Loads the script as a run does, and so finds what
    is wrong with it in a tenth of a second, before anything else is started.

    Raises `UsageError` for a script that does not load, and for one that says nothing of how much
    it does where no `rate` does, or the other way round. Blocks.
    """
    argv = [str(k6), "inspect", "--execution-requirements", "--log-format", "json"]
    answer = run_program(
        [*argv, *variable_flags(variables), str(load.path)],
        timeout_s=_INSPECT_TIMEOUT_S,
        env=clean_environment(),
    )
    if answer.problem:
        raise bad_script(load.script, answer.output, answer.problem)
    # The log is on the same stream, one object a line; the options are indented.
    text = "\n".join(line for line in answer.output.splitlines() if not line.startswith('{"'))
    try:
        options: dict[str, Any] = json.loads(text)
    except ValueError:
        raise BrokenError(
            f"k6 does not tell the options of {load.script}.", why=text[-500:]
        ) from None
    _require_one_load(load, options)
    return options


def write_entry(load: K6, options: Mapping[str, Any], folder: Path, bound_s: float) -> Path:
    """Write the script that k6 runs to `folder`, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_PRELUDE, folder / _PRELUDE.name)
    entry = folder / "entry.js"
    entry.write_text(entry_text(load, options, folder, bound_s))
    return entry


def entry_text(load: K6, options: Mapping[str, Any], folder: Path, bound_s: float) -> str:
    """The script around `load.script`, whose `options` are what k6 says they are. Its summary goes
    to `folder`; a load with a rate goes on for `bound_s`."""
    scenarios = None if load.rate is None else {"default": _constant_rate(load.rate, bound_s)}
    script = json.dumps(load.path.as_uri())
    warmup_ms = round(load.warmup_s * 1000)
    lines = [
        f"// Made by the harness to run {json.dumps(load.script)}. Variables: HARNESS_*.",
        'import { iteration, judged, summarize } from "./prelude.js";',
        f"import * as script from {script};",
        f"export * from {script};",
        f"export const options = judged(script.options || {{}}, {json.dumps(scenarios)});",
    ]
    for name in _functions(scenarios or options["scenarios"]):
        left = "export default" if name == "default" else f"export const {name} ="
        lines.append(f"{left} iteration(script[{json.dumps(name)}], {warmup_ms});")
    lines += [
        "export function handleSummary(data) {",
        f"  return summarize(data, script.handleSummary, {json.dumps(str(folder))});",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _constant_rate(rate: float, bound_s: float) -> dict[str, Any]:
    per_minute = max(1, round(rate * 60))  # k6 wants whole numbers, and spaces them evenly
    return {
        "executor": "constant-arrival-rate",
        "rate": per_minute,
        "timeUnit": "60s",
        "duration": f"{math.ceil(bound_s)}s",
        "preAllocatedVUs": max(5, math.ceil(rate)),
        "maxVUs": max(10, math.ceil(rate * _STALL_S)),
    }


def _functions(scenarios: Mapping[str, Mapping[str, Any]]) -> list[str]:
    names = {str(one.get("exec") or "default") for one in scenarios.values()}
    return sorted(name for name in names if _NAME.fullmatch(name))


def _require_one_load(load: K6, options: Mapping[str, Any]) -> None:
    scenarios = options.get("scenarios") or {}
    only = scenarios.get("default", {}) if len(scenarios) == 1 else {}
    bare = all(name in only and only[name] == value for name, value in _NO_LOAD.items())
    own = not bare or any(options.get(name) is not None for name in _SHORTCUTS)
    if own and load.rate is not None:
        raise UsageError(
            f"The load {load.script} has a rate twice: {load.rate:g} iterations per second in the "
            "experiment, and a load of its own.",
            why="The script has scenarios, stages, vus, a duration or iterations.",
            do="Leave one of them out; env={…} hands numbers to the script.",
        )
    if not own and load.rate is None:
        raise UsageError(
            f"The load {load.script} has no rate.",
            why="The script has no scenarios, stages, vus, duration or iterations.",
            do=f'Write k6("{load.script}", rate=40), or give the script scenarios.',
        )
