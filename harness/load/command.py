"""How k6 is called: its flags, and its variables for what it takes no flags for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

SAMPLES = "samples.csv"

DASHBOARD_PERIOD = "1s"
"""What one point of k6's dashboard stands for; there is none of a run of only a few points."""

_SAVE_INTERVAL = "100ms"

_NO_DOWNLOADS = {"K6_AUTO_EXTENSION_RESOLUTION": "false"}
"""A script that imports an extension must not have k6 fetch another k6 from the network."""


def command(program: Path, script: Path, variables: Mapping[str, str], folder: Path) -> list[str]:
    """The command that runs `script`: no REST interface, nothing sent to anybody."""
    # Whoever tries k6 by hand may have variables set that would overrule the script's options; the
    # environment of a tool is only added to.
    strange = {name for name in os.environ if name.startswith("K6_")} - environment(folder).keys()
    unset = ["env", *(f"--unset={name}" for name in sorted(strange))] if strange else []
    return [
        *unset,
        *(str(program), "run", "--quiet", "--no-color", "--no-usage-report", "--address", ""),
        *("--log-format", "json", "--out", f"csv={folder / SAMPLES}"),
        *variable_flags(variables),
        str(script),
    ]


def environment(folder: Path) -> dict[str, str]:
    """k6's own variables, for what it takes no flags for."""
    return {
        **_NO_DOWNLOADS,
        "K6_CSV_TIME_FORMAT": "unix_nano",
        "K6_CSV_SAVE_INTERVAL": _SAVE_INTERVAL,
        # The other format, opt-in since 1.5, does not say how many samples a trend has.
        "K6_NEW_MACHINE_READABLE_SUMMARY": "false",
        "K6_WEB_DASHBOARD": "true",
        "K6_WEB_DASHBOARD_PORT": "-1",
        "K6_WEB_DASHBOARD_PERIOD": DASHBOARD_PERIOD,
        "K6_WEB_DASHBOARD_EXPORT": str(folder / "dashboard.html"),
    }


def variable_flags(variables: Mapping[str, str]) -> list[str]:
    """The arguments that give the script its `__ENV`."""
    return [part for name, value in variables.items() for part in ("--env", f"{name}={value}")]


def clean_environment() -> dict[str, str]:
    """Our own environment without k6's variables, which would overrule the script's options."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("K6_")}
    return kept | _NO_DOWNLOADS
