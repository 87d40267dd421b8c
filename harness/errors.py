"""Errors that a person can act on: what happened, why, and what to do.

Every error the harness raises on purpose is a `HarnessError`. Its text is the whole message:
pytest and the command line print it without a stack trace of ours.
"""

from __future__ import annotations


class HarnessError(Exception):
    """Something went wrong that the harness understands.

    `what` is one sentence; `why` (optional) the cause as far as it is known, which may be several
    lines (the end of a log); `do` (optional) the next step.
    """

    exit_code = 4

    def __init__(self, what: str, *, why: str | None = None, do: str | None = None) -> None:
        self.what = what
        self.why = why
        self.do = do
        super().__init__(what)

    def __str__(self) -> str:
        lines = [self.what]
        if self.why:
            lines.append(f"Why: {self.why}")
        if self.do:
            lines.append(f"Do: {self.do}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments: without this, pickling (xdist, multiprocessing) would fail.
        return _rebuild, (type(self), self.what, self.why, self.do)


def _rebuild(kind: type[HarnessError], what: str, why: str | None, do: str | None) -> HarnessError:
    return kind(what, why=why, do=do)


class UsageError(HarnessError):
    """The user's input is wrong: an option, a target, a fault, a schedule, a file."""

    exit_code = 3


class UnreadableError(UsageError):
    """A file is damaged, half-written or of an unknown format."""


class MissingPartError(HarnessError):
    """A real part (a server, Toxiproxy, a namespace) is not to be had here: skip, never pass."""


class BrokenError(HarnessError):
    """The infrastructure failed: the run says nothing about the target (outcome `broken`)."""


class FaultError(BrokenError):
    """A fault did not land, or could not be undone (D4: that fails the run)."""


class AbortedError(HarnessError):
    """A person or a stop condition ended the run."""

    exit_code = 5


def origin(error: BaseException) -> tuple[str, int]:
    """File and line where `error` was raised; an empty name if nobody raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return (trace.tb_frame.f_code.co_filename, trace.tb_lineno) if trace else ("", 0)


PROGRAMMING = (AttributeError, NameError, TypeError)
"""Errors of whoever wrote the code, if they were raised in a file of theirs. The same raised inside
a library are not: libraries stumble over what faults do to them."""


def with_place(error: BaseException) -> str:
    """`TypeError: what it says (file:line)`: for whoever has to correct it."""
    file, line = origin(error)
    said = f"{type(error).__name__}: {error}".removesuffix(": ")
    return f"{said} ({file}:{line})"
