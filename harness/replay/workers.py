"""Workers: processes that carry out plans of one experiment, one after another, several at once.

Each is a pytest that collects the experiment once; starting one for every run would cost more than
a second each.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness.errors import BrokenError, HarnessError
from harness.failure import failures
from harness.plan import Plan
from harness.plugin import IMPORTED, WORKER
from harness.portal import sigterm_interrupts
from harness.project import file_of
from harness.record.folder import RunFolder
from harness.replay.repeat import Repeat

START_S = 60.0
"""How long a worker may take to collect its experiment, added to the bound of its first run."""

SLACK_S = 120.0
"""Added to what a plan says that a run takes: starting, final reads, ending, checks."""

END_S = 60.0
"""How long a worker may take to undo what it is in the middle of."""


class Workers:
    """Up to `count` worker processes for `experiment` of the project at `root`. Runs go to
    `runs_dir` (None: where the project has them), plans and the workers' own output to `scratch`.
    Its end cancels what waits, and interrupts what is under way, which undoes itself."""

    def __init__(
        self,
        experiment: str,
        root: Path,
        *,
        count: int,
        runs_dir: Path | None,
        scratch: Path,
        runtime: str,
    ) -> None:
        self._experiment = experiment
        self._root = root
        self._runs_dir = runs_dir.resolve() if runs_dir is not None else None
        self._scratch = scratch.resolve()
        self._runtime = runtime
        self._waiting: queue.SimpleQueue[tuple[Plan, Future[Repeat]] | None] = queue.SimpleQueue()
        self._numbers = itertools.count(1)
        self._ending = threading.Event()
        self._processes: dict[int, _Process] = {}
        self._threads = [
            threading.Thread(target=self._work, args=(number,), name=f"worker-{number}")
            for number in range(1, count + 1)
        ]
        for thread in self._threads:
            thread.start()

    def carry_out(self, plan: Plan) -> Future[Repeat]:
        """Have `plan` carried out as soon as a worker is free."""
        future: Future[Repeat] = Future()
        self._waiting.put((plan, future))
        return future

    def close(self) -> None:
        """End all workers. Safe to call twice."""
        self._ending.set()
        for _ in self._threads:
            self._waiting.put(None)
        for process in list(self._processes.values()):
            process.interrupt()
        for thread in self._threads:
            thread.join()

    def _work(self, number: int) -> None:
        """What one thread does: hand plans to its process, which is started anew if it ends."""
        try:
            while (next_one := self._waiting.get()) is not None:
                plan, future = next_one
                if self._ending.is_set():
                    future.cancel()
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    future.set_result(self._carry_out(number, plan))
                except BaseException as error:
                    future.set_exception(error)
        finally:
            self._end(number)

    def _carry_out(self, number: int, plan: Plan) -> Repeat:
        path = self._scratch / f"plan-{next(self._numbers)}.json"
        plan.write(path)
        begun_s = time.monotonic()
        process = self._processes.get(number) or self._start(number)
        if self._ending.is_set():
            process.interrupt()  # (`close` may not have met it)
        limit_s = plan.before_s + plan.duration_s + 3 * plan.recovery_s + START_S + SLACK_S
        try:
            answer = process.ask({"experiment": self._experiment, "plan": str(path)}, limit_s)
        except BrokenError:
            self._end(number)
            raise
        finally:
            path.unlink(missing_ok=True)
        if "error" in answer:
            raise BrokenError(f"The plan was not carried out: {answer['error']}")
        folder = RunFolder(Path(answer["folder"]))
        identity = folder.read_identity()
        return Repeat(
            folder=folder.path,
            outcome=str(identity.get("outcome") or "broken"),
            failures=tuple(failures(folder)),
            seconds=time.monotonic() - begun_s,
            ops=sum((identity.get("ops") or {}).values()),
        )

    def _start(self, number: int) -> _Process:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += ["-p", "harness.replay.worker", f"--rootdir={self._root}"]
        command += [f"--chaos-runs-dir={self._runs_dir}"] if self._runs_dir is not None else []
        command += [f"--chaos-runtime={self._runtime}"]
        # A project may ask for xdist in its own options; a worker is one process.
        command += ["-n", "0"] if importlib.util.find_spec("xdist") else []
        command += [*IMPORTED, file_of(self._experiment)]
        log = self._scratch / f"worker-{number}.log"
        process = _Process(command, self._root, log)
        self._processes[number] = process
        return process

    def _end(self, number: int) -> None:
        process = self._processes.pop(number, None)
        if process is not None:
            process.end()


@contextlib.contextmanager
def workers_for(
    plan: Plan, root: Path, *, count: int, runs_dir: Path | None, runtime: str
) -> Iterator[Workers]:
    """Workers for the plan's experiment; SIGTERM ends them as Ctrl-C does."""
    with (
        sigterm_interrupts(),
        TemporaryDirectory(prefix="harness-workers-") as scratch,
        contextlib.closing(
            Workers(
                plan.experiment,
                root,
                count=count,
                runs_dir=runs_dir,
                scratch=Path(scratch),
                runtime=runtime,
            )
        ) as workers,
    ):
        yield workers


class _Process:
    """One worker process and its two pipes."""

    def __init__(self, command: list[str], root: Path, log: Path) -> None:
        self._log = log
        commands, self._asking = os.pipe()
        self._hearing, answers = os.pipe()
        paths = [str(root), os.environ.get("PYTHONPATH", "")]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=root,
                env={
                    **os.environ,
                    WORKER: f"{commands},{answers},{os.getpid()}",
                    "PYTHONPATH": os.pathsep.join(path for path in paths if path),
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(commands, answers),
                # Ctrl-C is ours: we tell it to end, and wait for it.
                start_new_session=True,
            )
        os.close(commands)
        os.close(answers)
        self._heard = b""

    def ask(self, command: dict[str, Any], limit_s: float) -> dict[str, Any]:
        """Send a command and wait for the answer. Raises `BrokenError` if none comes in time."""
        try:
            os.write(self._asking, json.dumps(command).encode() + b"\n")
        except OSError:
            raise self._silent("It has ended.") from None
        deadline = time.monotonic() + limit_s
        while b"\n" not in self._heard:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not select.select([self._hearing], [], [], left_s)[0]:
                self.interrupt()
                raise self._silent(f"It did not answer within {limit_s:g} s.")
            got = os.read(self._hearing, 65536)
            if not got:
                raise self._silent("It ended.")
            self._heard += got
        line, _, self._heard = self._heard.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def interrupt(self) -> None:
        """Have it undo what it is in the middle of, and end."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """End it: there are no more commands. One that does not is killed; the reapers of its
        clusters clean up then."""
        for pipe in (self._asking, self._hearing):
            with contextlib.suppress(OSError):
                os.close(pipe)
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(END_S)

    def _silent(self, why: str) -> HarnessError:
        try:
            said = self._log.read_text(errors="replace").strip()[-2000:]
        except OSError:
            said = ""
        return BrokenError(
            "A worker gave no answer.", why=f"{why}\n{said}".strip(), do="See its output above."
        )
