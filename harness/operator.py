"""The person at the terminal: pressing `q` stops the run, heals, and keeps everything."""

from __future__ import annotations

import contextlib
import os
import select
import termios
import tty
from types import TracebackType
from typing import Self

KEY = b"q"


class KeyPresses:
    """Listens to the terminal while a run goes on. Without one, or in the background, it hears
    nothing. The terminal is put back as it was at the end."""

    def __init__(self) -> None:
        self._file = -1
        self._before: list[object] | None = None

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError, termios.error):
            file = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            if os.tcgetpgrp(file) != os.getpgrp():
                # A job in the background that touches the terminal would be stopped by it.
                os.close(file)
                return self
            self._before = termios.tcgetattr(file)
            tty.setcbreak(file, termios.TCSANOW)
            self._file = file
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._file < 0:
            return
        with contextlib.suppress(OSError, termios.error):
            termios.tcsetattr(self._file, termios.TCSANOW, self._before)  # type: ignore[arg-type]
        os.close(self._file)
        self._file = -1

    def stop_pressed(self) -> bool:
        """Whether `q` was pressed since the last time. Never waits."""
        if self._file < 0:
            return False
        with contextlib.suppress(OSError):
            while select.select([self._file], [], [], 0)[0]:
                keys = os.read(self._file, 64)
                if KEY in keys.lower():
                    return True
                if not keys:
                    break
        return False
