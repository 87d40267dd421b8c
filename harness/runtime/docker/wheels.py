"""Python packages for images, unpacked from wheels on this machine, so that no build needs the
network. Kept in the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.errors import MissingPartError
from harness.parts.cache import parts_cache
from harness.parts.program import run_program
from harness.runtime.docker.build import Tell, exclusive

_TIMEOUT_S = 300.0
# Newer than the first were wheels of packages that had to be; Debian 12 has glibc 2.36.
_PLATFORMS = ("manylinux2014", "manylinux_2_17", "manylinux_2_28", "manylinux_2_34")
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


def site_key(requirements: Sequence[str], machine: str, python: str) -> str:
    """What stands for the folder that `site` makes, without making it."""
    if not requirements:
        return "empty"
    constraints = _constraints()
    text = constraints.read_text("utf-8") if constraints else ""
    said = "\0".join((*sorted(requirements), machine, python, *_PLATFORMS, text))
    return hashlib.sha256(said.encode()).hexdigest()[:24]


def site(requirements: Sequence[str], machine: str, python: str, tell: Tell) -> Path:
    """A folder with these packages for a Linux `machine` and that version of Python.

    Versions are those of `constraints.txt`, where the folder that we were called in has one. Raises
    `MissingPartError` if they are not to be had.
    """
    key = site_key(requirements, machine, python)
    there = parts_cache() / f"site-{key}"
    if there.is_dir():
        return there
    with exclusive(f"site-{key}", "of Python packages", tell) as scratch:
        if not there.is_dir():
            made = scratch / "site"
            made.mkdir()
            if requirements:
                tell(f"fetching {', '.join(requirements)} for images …")
                _install(requirements, machine, python, made)
            shutil.rmtree(made / "bin", ignore_errors=True)
            made.rename(there)
    return there


_PIP = """
import sys
import pip._vendor.packaging.markers as markers
asked = markers.default_environment
def answer():
    ours = {"python_version": sys.argv[1], "python_full_version": sys.argv[1] + ".0",
            "sys_platform": "linux", "platform_system": "Linux", "os_name": "posix",
            "platform_machine": sys.argv[2], "implementation_name": "cpython"}
    return {**asked(), **ours}
markers.default_environment = answer
from pip._internal.cli.main import main
sys.exit(main(sys.argv[3:]))
"""
"""pip chooses wheels for the Python that it is told, but asks its own which packages that Python
needs ("async-timeout, before 3.11.3")."""


def _install(requirements: Sequence[str], machine: str, python: str, made: Path) -> None:
    constraints = _constraints()
    machine = _MACHINES.get(machine, machine)
    argv = [
        *(
            sys.executable,
            "-c",
            _PIP,
            python,
            machine,
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ),
        *("--target", str(made), "--only-binary=:all:", "--no-compile", "--no-input"),
        *("--python-version", python, "--implementation", "cp"),
        *(word for name in _PLATFORMS for word in ("--platform", f"{name}_{machine}")),
        *(("--constraint", str(constraints)) if constraints else ()),
        *sorted(requirements),
    ]
    environment = {name: value for name, value in os.environ.items() if name != "PIP_TARGET"}
    answer = run_program(argv, timeout_s=_TIMEOUT_S, env=environment)
    if answer.problem:
        end = "\n".join(answer.output.strip().splitlines()[-10:])
        raise MissingPartError(
            f"The Python packages {', '.join(requirements)} for an image are not to be had.",
            why=f"pip {answer.problem}.\n{end}",
            do=f"They must exist as wheels for Python {python} on Linux ({machine}).",
        )


def _constraints() -> Path | None:
    path = Path.cwd() / "constraints.txt"
    return path if path.is_file() else None
