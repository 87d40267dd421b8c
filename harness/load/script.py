"""The load that an experiment declares: a k6 script and how it is to be run."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.units import Duration, seconds, to_seconds

OWN_PREFIX = "HARNESS_"
"""Variables of the script that the harness sets itself."""

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class K6:
    """A k6 script as load. Made by `k6`; `beside` tells where the script is.

    `rate` is in iterations per second, None for a script that says itself how much it does.
    """

    script: str
    rate: float | None = None
    warmup_s: float = 1.0
    env: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None

    @property
    def path(self) -> Path:
        """The script. Relative to the working directory as long as nobody has said to what."""
        return (self.directory or Path()) / self.script

    def beside(self, directory: Path) -> K6:
        """The same with its script in `directory`, that of the experiment's file. Raises
        `UsageError` if there is no such script."""
        bound = replace(self, directory=directory.resolve())
        if not bound.path.is_file():
            raise UsageError(
                f"There is no k6 script {self.script!r} in {directory}.",
                do="Name the script by its path from the folder of the experiment's file.",
            )
        return bound

    def to_json(self) -> dict[str, Any]:
        """The load as it stands in a plan; `sha256` is that of the script alone, without what it
        imports."""
        return {
            "script": self.script,
            "sha256": hashlib.sha256(self.path.read_bytes()).hexdigest(),
            "rate": self.rate,
            "warmup_s": self.warmup_s,
            "env": dict(self.env),
        }


def k6(
    script: str,
    *,
    rate: float | None = None,
    warmup: Duration = seconds(1),
    env: Mapping[str, object] | None = None,
) -> K6:
    """Load from the k6 script `script`, a path from the folder of the experiment's file.

    A script without scenarios (or stages, duration, iterations) of its own is run at `rate`
    iterations per second. What a scenario begins in its first `warmup` is not judged. `env` is the
    script's `__ENV`. Raises `UsageError` for arguments that cannot be.
    """
    if not script:
        raise UsageError("The load names no script.", do='Write load=k6("payments.js", rate=40).')
    if rate is not None and not (math.isfinite(rate) and rate > 0):
        raise UsageError(
            f"A load cannot run at {rate!r} iterations per second.",
            do="Give a rate above zero, or none for a script with scenarios of its own.",
        )
    variables = dict(env or {})
    for name in variables:
        if not _ENV_NAME.fullmatch(name) or name.startswith(OWN_PREFIX):
            raise UsageError(
                f"The load cannot set the variable {name!r}.",
                do=f"Use letters, digits and underscores, and nothing that begins with "
                f"{OWN_PREFIX}.",
            )
    warmup_s = to_seconds(warmup, "warmup", allow_zero=True)
    return K6(script, rate, warmup_s, {name: str(value) for name, value in variables.items()})
