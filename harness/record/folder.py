"""The folder of a run: `runs/<UTC time>-<experiment>-<seed>/` and the files in it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from harness.errors import UnreadableError, UsageError

SCHEMA = 1
"""Version of `run.json`. Readers accept this and older ones."""

VERDICTS_SCHEMA = 1
"""Version of `verdicts.json`."""

_PRETTY = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


@dataclass(frozen=True)
class RunFolder:
    """The files of one run, by name."""

    path: Path

    @classmethod
    def create(cls, runs_dir: Path, experiment: str, seed: int) -> RunFolder:
        """A new, empty folder. Raises `UsageError` if `runs_dir` cannot be written to."""
        name = re.sub(r"[^A-Za-z0-9_.]+", "-", experiment.rpartition("::")[2]).strip("-")[:80]
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        for number in range(1, 1000):
            suffix = f"-{number}" if number > 1 else ""
            path = runs_dir / f"{stamp}-{name}-{seed}{suffix}"
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue
            except OSError as error:
                raise UsageError(
                    f"The folder for runs, {runs_dir}, cannot be written to.",
                    why=str(error),
                    do="Name another one with --chaos-runs-dir.",
                ) from None
            folder = cls(path)
            folder.logs.mkdir()
            return folder
        raise UsageError(f"{runs_dir} holds too many runs named {stamp}-{name}-{seed}.")

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def clients_log(self) -> Path:
        return self.logs / "clients.log"

    @property
    def plan(self) -> Path:
        return self.path / "plan.json"

    @property
    def journal(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def history(self) -> Path:
        return self.path / "history.jsonl"

    @property
    def load(self) -> Path:
        return self.path / "load"

    @property
    def measurements(self) -> Path:
        return self.path / "measurements.jsonl"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def resources(self) -> Path:
        return self.path / "resources.jsonl"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def source(self) -> Path:
        """The experiment and what it imports of its project, in an exported run."""
        return self.path / "source"

    @property
    def verdicts(self) -> Path:
        return self.path / "verdicts.json"

    def evidence(self, number: int) -> Path:
        """The picture of what the verdict of that number (from 1) found."""
        return self.path / f"evidence-{number}.svg"

    @property
    def identity(self) -> Path:
        return self.path / "run.json"

    def write_identity(self, data: dict[str, Any]) -> None:
        """Write `run.json`: who this run is and, once it ended, how."""
        write_json(self.identity, {"schema": SCHEMA, **data})

    def read_identity(self) -> dict[str, Any]:
        """`run.json`. Raises `UnreadableError` if this is no folder of a run, or a damaged one."""
        return read_json(self.identity, "run", SCHEMA, required=("experiment", "seed"))

    def read_verdicts(self) -> list[dict[str, Any]]:
        """What `verdicts.json` holds, in order; nothing if the run came to no verdict. Raises
        `UnreadableError` if it is damaged."""
        if not self.verdicts.exists():
            return []
        data = read_json(self.verdicts, "verdicts", VERDICTS_SCHEMA, required=("verdicts",))
        return list(data["verdicts"])


def write_json(path: Path, data: Any) -> None:
    """Write `data` so that a reader never meets half of it."""
    _write(path, orjson.dumps(data, option=_PRETTY))


def write_text(path: Path, text: str) -> None:
    """Write `text` so that a reader never meets half of it."""
    _write(path, text.encode())


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(data)
    os.replace(temporary, path)  # noqa: PTH105  says that it overwrites


def read_json(path: Path, what: str, schema: int, required: tuple[str, ...]) -> dict[str, Any]:
    """The JSON object in `path`, of this or an older schema, with the `required` fields."""
    do = f"Correct {path.name}, or name the folder of a run that `harness runs` lists."
    try:
        data = orjson.loads(path.read_bytes())
    except OSError as error:
        # A file of any other name was named for itself.
        ours = path.name in ("run.json", "plan.json", "verdicts.json")
        known = ours and path.parent.name != "shrink"
        raise UnreadableError(
            f"{path.parent} is not the folder of a run: {path.name} cannot be read."
            if known
            else f"{path} cannot be read.",
            why=str(error),
            do=do,
        ) from None
    except ValueError as error:
        raise UnreadableError(f"{path} is damaged.", why=str(error), do=do) from None
    if not isinstance(data, dict):
        raise UnreadableError(f"{path} is damaged: it holds no object.", do=do)
    found = data.get("schema")
    missing = [name for name in required if name not in data]
    if not isinstance(found, int) or missing:
        lack = missing[0] if missing else "schema"
        raise UnreadableError(f"{path} is damaged: it has no {lack!r}.", do=do)
    if found > schema:
        raise UnreadableError(
            f"{path} has schema {found}; this version knows {what} schemas up to {schema}.",
            do="Read it with the version of the harness that wrote it, or a newer one.",
        )
    return data
