"""The `harness` command.

A subcommand is one function that takes the parsed arguments and returns an exit code, and one
block in `_parser` that describes it. What a subcommand needs beyond the standard library it
imports itself, so that each starts as fast as it can. `HarnessError`s become their message on
stderr and their exit code here, and nowhere else.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from harness.errors import AbortedError, HarnessError, UnreadableError, UsageError

DONE, INVALID, UNKNOWN, INFRASTRUCTURE = 0, 1, 2, 4


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 valid or done, 1 invalid or failed, 2 unknown,
    3 wrong use or unreadable input, 4 infrastructure, 5 aborted."""
    try:
        arguments = _parser().parse_args(argv)
        run: Callable[[argparse.Namespace], int] = arguments.run
        code = run(arguments)
        sys.stdout.flush()
    except HarnessError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        return AbortedError.exit_code
    except BrokenPipeError:
        # The reader (`harness runs | head`) has seen enough. Nothing may be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    return code


def doctor(arguments: argparse.Namespace) -> int:
    """What works here, what is missing, and how to get it."""
    from harness.doctor import examine, table, to_json, works

    rows = examine(fetch=arguments.fetch)
    print(_json(to_json(rows)) if arguments.json else table(rows))
    return DONE if works(rows) else INFRASTRUCTURE


def check(arguments: argparse.Namespace) -> int:
    """Judge one recorded history."""
    from harness.check import linearizable
    from harness.history import History

    judge = linearizable(arguments.model, timeout=arguments.timeout)
    verdict = judge(History.read(arguments.history))
    if arguments.json:
        print(_json(verdict.to_json()))
    else:
        print(f"{verdict.check}: {verdict.result}. {verdict.summary}")
        if verdict.evidence:
            print(verdict.evidence)
    return {"valid": DONE, "invalid": INVALID, "unknown": UNKNOWN}[verdict.result]


def runs(arguments: argparse.Namespace) -> int:
    """The recorded runs, oldest first."""
    from harness.record.folder import RunFolder

    try:
        folders = sorted(path for path in arguments.runs_dir.iterdir() if path.is_dir())
    except FileNotFoundError:
        folders = []
    except OSError as error:
        raise UsageError(
            f"The folder for runs, {arguments.runs_dir}, cannot be read.",
            why=str(error),
            do="Name another one with --runs-dir.",
        ) from None
    if not folders:
        print(f"There are no runs in {arguments.runs_dir}.")
    for path in folders:
        try:
            print(f"{path}  {_run_line(RunFolder(path).read_identity())}")
        except UnreadableError as error:
            print(f"{path}  damaged: {error.what}")
    return DONE


def cleanup(arguments: argparse.Namespace) -> int:
    """Undo the clusters that nobody looks after any more, and those that were kept."""
    from harness.runtime.ledger import find_left_over, undo

    left_over = find_left_over()
    if not left_over:
        print("Nothing is left over.")
    stubborn = []
    for cluster in left_over:
        kept = "kept on purpose" if cluster.kept else "its harness is gone"
        what = f"{cluster.id} at {cluster.where} ({kept}, {len(cluster.processes)} processes)"
        if arguments.dry_run:
            print(f"would remove {what}")
        elif left := undo(cluster):
            stubborn.append(f"{what}: {', '.join(str(process.pid) for process in sorted(left))}")
        else:
            print(f"removed {what}")
    if stubborn:
        raise HarnessError(
            "Some processes do not end.",
            why="\n".join(stubborn),
            do="Look at them with ps; one in state D waits for a disk. Then run this again.",
        )
    return DONE


class _Parser(argparse.ArgumentParser):
    """argparse ends with status 2 for wrong use, which means `unknown` here."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}.", do=f"{self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="harness", description="Chaos and resilience testing, in pytest.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(run: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        command = commands.add_parser(run.__name__, help=about, description=about)
        command.set_defaults(run=run)
        return command

    command = add(doctor, "Say what works here, what is missing, and how to get it.")
    command.add_argument("--fetch", action="store_true", help="fetch Toxiproxy if it is missing")
    command.add_argument("--json", action="store_true", help="print JSON")

    command = add(check, "Judge a recorded history: exit 0 valid, 1 invalid, 2 unknown.")
    command.add_argument("history", metavar="HISTORY", type=Path, help="a history.jsonl")
    command.add_argument("--model", required=True, help="register or cas-register")
    command.add_argument(
        "--timeout", metavar="S", type=float, default=30.0, help="seconds to decide in (30)"
    )
    command.add_argument("--json", action="store_true", help="print JSON")

    command = add(runs, "List the recorded runs.")
    command.add_argument("--runs-dir", metavar="DIR", type=Path, default=Path("runs"))

    command = add(cleanup, "Remove what killed sessions and kept clusters left behind.")
    command.add_argument("--dry-run", action="store_true", help="only list what would be removed")

    return parser


def _run_line(identity: dict[str, Any]) -> str:
    outcome = identity.get("outcome") or "unfinished"
    duration_s = identity.get("duration_s")
    took = f"  {duration_s:.1f} s" if isinstance(duration_s, int | float) else ""
    started = f"  started {identity['started']}" if identity.get("started") else ""
    return f"{outcome}  {identity['experiment']}  seed {identity['seed']}{started}{took}"


def _json(data: Any) -> str:
    return json.dumps(data, indent=2, default=str)
