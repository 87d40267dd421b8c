"""The image that all others are made from: a small Debian with Python and the tools that faults
need. Made from the public image of Python where a registry answers, else from Debian packages; with
further packages from itself."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from harness.errors import BrokenError, MissingPartError, UsageError
from harness.parts.program import program_path, run_program
from harness.runtime.docker.build import (
    CONTENT_LABEL,
    NAME_LABEL,
    Build,
    Tell,
    build,
    exclusive,
    find_image,
    tree,
)
from harness.runtime.docker.engine import Engine
from harness.runtime.docker.pull import pull

FOLDER = Path(__file__).with_name("images")
PUBLIC = "python:3.11-slim-bookworm"
SUITE = "bookworm"
PYTHON = "3.11"
"""Of that suite, and of the public image."""

SITE = "/usr/local/lib/harness-site"
"""Where Python packages of targets are; it is on `PYTHONPATH`."""

FAKETIME = "/usr/local/lib/libfaketime.so.1"
"""For `LD_PRELOAD`."""

TOOLS = (
    "ca-certificates",
    "iproute2",
    "iptables",
    "libfaketime",
    "netcat-openbsd",
    "procps",
    "python3",
    "util-linux",
)

_NAME = "base"
_MAKE_TIMEOUT_S = 600.0  # 35 s with a near mirror; `packages` may be many, and the mirror far
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(=[A-Za-z0-9.+~:-]+)?")
_NO_DOCS = tuple(f"path-exclude=/usr/share/{name}/*" for name in ("doc", "info", "locale", "man"))
_ENV = {"PYTHONPATH": SITE, "PYTHONUNBUFFERED": "1"}


def base_image(engine: Engine, tell: Tell, packages: Sequence[str] = ()) -> str:
    """The tag of the base with these Debian packages; made if there is none.

    Raises `MissingPartError` if it cannot be made here, `BrokenError` if making it failed.
    """
    tag = base_tag(engine, packages)
    if find_image(engine, tag):
        return tag
    # Not in the lock below: it is the same one.
    plain = base_image(engine, tell) if packages else PUBLIC
    with exclusive("base", _NAME, tell) as scratch:
        if find_image(engine, tag):
            return tag
        problem = None if find_image(engine, plain) else pull(engine, plain, tell)
        if problem is None:
            try:
                return _from_image(engine, tag, plain, packages, tell)
            except BrokenError as error:  # a mirror may be reached from here, if not from there
                problem = str(error)
        _from_packages(engine, tag, packages, tell, scratch, problem)
    return tag


def base_tag(engine: Engine, packages: Sequence[str] = ()) -> str:
    """What the base with these packages is called. Raises `UsageError` for a name that is none."""
    for package in packages:
        if not _PACKAGE.fullmatch(package):
            raise UsageError(
                f"{package!r} is not the name of a Debian package.",
                do="Give names as in `apt-get install`, such as redis-server.",
            )
    digest = hashlib.sha256()
    for file in sorted((FOLDER / "base").iterdir()):
        digest.update(file.read_bytes())
    said = (PUBLIC, SUITE, engine.facts.machine, *_NO_DOCS, *_wanted(packages), *_changes())
    digest.update("\0".join(said).encode())
    return f"harness-{_NAME}:{digest.hexdigest()[:16]}"


def obstacle(engine: Engine) -> MissingPartError | None:
    """Why no base can be made from packages on this machine; None if nothing speaks against it."""
    if platform.machine() != engine.facts.machine:
        return MissingPartError(
            "No base image can be made here for the engine's machine.",
            why=f"It is {engine.facts.machine}, and this one is {platform.machine()}.",
            do=f"Let the engine pull {PUBLIC}.",
        )
    if shutil.which("mmdebstrap", path=program_path()) is None:
        return MissingPartError(
            "mmdebstrap is needed to make the base image, and is not there.",
            do=f"apt-get install mmdebstrap; or let the engine pull {PUBLIC}.",
        )
    return None


def _wanted(packages: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted({*TOOLS, *packages}))


def _changes() -> list[str]:
    return [*(f"ENV {name}={value}" for name, value in _ENV.items()), "WORKDIR /data", 'CMD ["sh"]']


def _from_image(engine: Engine, tag: str, plain: str, packages: Sequence[str], tell: Tell) -> str:
    """Make a base from an image that is here, with packages installed in it."""
    folder = FOLDER / "base"
    # The public image has a Python of its own.
    wanted = packages or [tool for tool in TOOLS if tool != "python3"]
    made = build(
        engine,
        Build(
            name=_NAME,
            source=(tag,),
            entries=[entry for each in sorted(folder.iterdir()) for entry in tree(each, each.name)],
            args={"BASE": plain, "PACKAGES": " ".join(sorted(wanted))},
            base_id=find_image(engine, plain) or "",
            more=(tag,),
        ),
        tell,
    )
    repository, _, version = tag.partition(":")
    engine.api.tag(made, repository, version)
    engine.api.remove_image(made)  # the name that it was built under, no more
    return tag


def _from_packages(
    engine: Engine, tag: str, packages: Sequence[str], tell: Tell, scratch: Path, problem: str
) -> None:
    blocked = obstacle(engine)
    if blocked is not None:
        raise MissingPartError(blocked.what, why=f"{blocked.why or ''}\n{problem}", do=blocked.do)
    also = f" with {', '.join(packages)}" if packages else ""
    tell(f"making the base image from Debian packages{also} (once; about a minute) …")
    archive = scratch / "base.tar"
    answer = run_program(_recipe(packages, archive), timeout_s=_MAKE_TIMEOUT_S)
    if answer.problem:
        end = "\n".join(answer.output.strip().splitlines()[-15:])
        raise MissingPartError(
            "The base image could not be made from Debian packages.",
            why=f"mmdebstrap {answer.problem}.\n{end}",
            do="It needs a mirror of Debian's, and root or user namespaces; or let the engine pull "
            f"{PUBLIC}.",
        )
    labels = {CONTENT_LABEL: tag.partition(":")[2], NAME_LABEL: _NAME}
    repository, _, version = tag.partition(":")
    said = engine.api.import_image_from_file(
        str(archive),
        repository=repository,
        tag=version,
        changes=[*_changes(), *(f"LABEL {name}={value}" for name, value in labels.items())],
    )
    if find_image(engine, tag) is None:
        raise BrokenError("The engine did not take the base image.", why=str(said).strip()[-500:])


def _recipe(packages: Sequence[str], archive: Path) -> list[str]:
    setup = shlex.quote(str(FOLDER / "base" / "setup.sh"))
    # Without the hook and the package, Debian's usrmerge is installed, and all of Perl with it.
    merged = Path("/usr/share/mmdebstrap/hooks/merged-usr")
    return [
        shutil.which("mmdebstrap", path=program_path()) or "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        "--format=tar",
        *((f"--hook-dir={merged}",) if merged.is_dir() else ()),
        f"--include={','.join(('usr-is-merged', *_wanted(packages)))}",
        *(f"--dpkgopt={option}" for option in _NO_DOCS),
        f'--customize-hook=chroot "$1" sh -eu < {setup}',
        # Of this machine, and none of its business: Docker mounts its own over them.
        '--customize-hook=rm -f "$1/etc/hostname"; : > "$1/etc/resolv.conf"',
        "--skip=output/dev",
        *(("--mode=root",) if os.geteuid() == 0 else ()),
        SUITE,
        str(archive),
    ]
