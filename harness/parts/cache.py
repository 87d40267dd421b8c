"""Where fetched parts are kept, and how several processes share the place."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.errors import MissingPartError

_LOCK_POLL_S = 0.1


def parts_cache() -> Path:
    """`$XDG_CACHE_HOME/harness/parts`, or `~/.cache/harness/parts`. It need not exist yet."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification: a relative path is to be ignored.
    root = Path(named) if Path(named).is_absolute() else Path.home() / ".cache"
    return root / "harness" / "parts"


@contextlib.contextmanager
def workshop(name: str, *, timeout_s: float, say: Callable[[str], None]) -> Iterator[Path]:
    """An empty folder to fetch the part `name` into, for one process of this machine at a time.

    It is in the cache, so that what is fetched can be run and moved from there, and it is removed
    in the end. `say` hears of it if another process has it. Raises `MissingPartError` if the cache
    cannot be written to, or the other process keeps the folder for `timeout_s`.
    """
    cache = parts_cache()
    scratch = cache / f"{name}.part"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # The lock goes with its holder, however that ends. The file stays: if it were removed, two
        # processes could each hold a lock of that name.
        lock = os.open(cache / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _not_writable(cache, error) from None
    try:
        _acquire(lock, cache / f"{name}.lock", timeout_s, say)
        shutil.rmtree(scratch, ignore_errors=True)  # of a holder that was killed
        try:
            scratch.mkdir()
        except OSError as error:
            raise _not_writable(cache, error) from None
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    finally:
        os.close(lock)


def install(program: Path, path: Path) -> None:
    """Move `program` from the workshop to `path`, where it appears whole or not at all.

    Raises `MissingPartError` if the place cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        program.chmod(0o755)
        program.replace(path)
    except OSError as error:
        raise _not_writable(path.parent, error) from None


def _acquire(descriptor: int, path: Path, timeout_s: float, say: Callable[[str], None]) -> None:
    deadline = time.monotonic() + timeout_s
    waiting = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise MissingPartError(
                    f"Another process has held {path} for {timeout_s:g} s.",
                    why="It is fetching the same part, or hangs.",
                    do=f"Find it with `fuser {path}`, end it, and try again.",
                ) from None
            if not waiting:
                say("another process is fetching this part; waiting for it …")
                waiting = True
            time.sleep(_LOCK_POLL_S)  # flock has no deadline of its own
        else:
            return


def _not_writable(folder: Path, error: OSError) -> MissingPartError:
    return MissingPartError(
        f"The folder for fetched parts, {folder}, cannot be written to.",
        why=str(error),
        do="Make it writable, or set XDG_CACHE_HOME to a folder that is.",
    )
