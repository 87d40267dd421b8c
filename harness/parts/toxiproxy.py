"""Toxiproxy: the TCP proxy that carries every link. Fetched once where it is not installed.

It is sought in `$TOXIPROXY_BIN`, on PATH, and in the user's cache
(`$XDG_CACHE_HOME` or `~/.cache`, `/harness/parts/toxiproxy-<version>/toxiproxy-server`). If there
is none, `toxiproxy_binary` puts one into the cache: built by `go install` where Go is present
(the module's checksum is Go's business), else the pinned release's own program, taken only if its
SHA-256 is the one written below.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from harness.errors import MissingPartError
from harness.parts.cache import install, parts_cache, workshop
from harness.parts.download import DownloadError, download
from harness.parts.part import Found, Part, Place, Refusal, examine, look_for
from harness.parts.program import run_program

VERSION = "2.12.0"
"""The version that is fetched. A new one needs the checksums of its release's `checksums.txt`."""

RELEASES = "https://github.com/Shopify/toxiproxy/releases/download"

# SHA-256 of the release's toxiproxy-server-<system>-<machine>, as in the release's checksums.txt.
_CHECKSUMS = {
    "linux-amd64": "556d891134a3c582dc1e1a3f7335fd55142e5965769855a00b944e13e48302fc",
    "linux-arm64": "53e770c1c3035b5a9f1bc629fce537db1f95f62b26f4ebe6e756afd701cf077c",
    "darwin-amd64": "9625bba4bd96117eedae49f982aba4c2f462b268dd406c9ff18186f9b1ef8afe",
    "darwin-arm64": "aa299966b52f16a8594f1cd0d1e9049dc2e8fe2c04a90c19860e2719b2b95d15",
}

_PACKAGE = f"github.com/Shopify/toxiproxy/v2/cmd/server@v{VERSION}"
_VERSION_VARIABLE = "github.com/Shopify/toxiproxy/v2.Version"

_BUILD_TIMEOUT_S = 300.0  # 30 s on two cores with an empty Go cache, and a slow network besides
_DOWNLOAD_TIMEOUT_S = 120.0  # 9 MB
_DOWNLOAD_LIMIT_BYTES = 64 * 1024 * 1024
_LOCK_TIMEOUT_S = _BUILD_TIMEOUT_S + _DOWNLOAD_TIMEOUT_S + 30  # what another one may need in all


def toxiproxy_binary() -> Path:
    """Toxiproxy's server, fetched into the user's cache if there is none yet.

    Fetching says so on stderr, once, and takes seconds to a few minutes. Raises `MissingPartError`
    if there is none and none can be fetched.
    """
    answer = look_for(TOXIPROXY)
    return answer.path if isinstance(answer, Found) else fetch_toxiproxy().path


def fetch_toxiproxy(releases: str = RELEASES) -> Found:
    """Put Toxiproxy into the user's cache, unless one is there that will do.

    Of several processes at once one fetches and the others wait for it. Raises `MissingPartError`
    with every reason if it cannot be had, and if `$TOXIPROXY_BIN` names one that will not do.
    `releases` is where releases are downloaded from.
    """
    with workshop("toxiproxy", timeout_s=_LOCK_TIMEOUT_S, say=_say) as scratch:
        answer = look_for(TOXIPROXY)  # another process may have fetched it meanwhile
        if isinstance(answer, Found):
            return answer
        if os.environ.get("TOXIPROXY_BIN"):
            raise answer.error  # whoever named one would be surprised by another in its place
        reasons = [str(refusal) for refusal in answer.refusals]
        for reason in reasons:
            _say(reason)
        for way in (_build, _download):
            program, problem = way(scratch, releases)
            if program is None:
                reasons.append(problem)
                continue
            tried = examine(TOXIPROXY, program, "just fetched")
            if isinstance(tried, Refusal):
                reasons.append(str(tried))
                continue
            install(program, _cached())
            _say(f"Toxiproxy {tried.version} is at {_cached()}.")
            return Found(_cached(), tried.version, "cache")
    raise MissingPartError(
        f"Toxiproxy {VERSION} could not be fetched.", why="\n".join(reasons), do=answer.error.do
    )


def fetchable_by() -> str | None:
    """How `fetch_toxiproxy` would go about it, in words; None if it knows no way on this machine.

    Looks at this machine only: whether the network answers shows when it is tried.
    """
    ways = []
    if shutil.which("go"):
        ways.append("built with go install")
    if _platform() in _CHECKSUMS:
        ways.append(f"downloaded from its release {VERSION}")
    return " or ".join(ways) or None


def _cached() -> Path:
    return parts_cache() / f"toxiproxy-{VERSION}" / "toxiproxy-server"


def _in_cache() -> Iterable[Place]:
    if _cached().exists():
        yield _cached(), "cache"


def _platform() -> str:
    machine = platform.machine().lower()
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    return f"{platform.system().lower()}-{machine}"


def _build(scratch: Path, releases: str) -> tuple[Path | None, str]:
    """The program built from source, or why not."""
    go = shutil.which("go")
    if go is None:
        return None, "go install: there is no go on PATH."
    _say(f"building Toxiproxy {VERSION} with go install (once; up to a minute) …")
    foreign = ("GOOS", "GOARCH", "GOFLAGS")  # they would build for another machine, or not at all
    environment = {name: value for name, value in os.environ.items() if name not in foreign}
    environment |= {"GOBIN": str(scratch), "CGO_ENABLED": "0"}
    # Without the flag it would report "git" as its version, here and in its API.
    flags = f"-s -w -X {_VERSION_VARIABLE}={VERSION}"
    answer = run_program(
        [go, "install", "-trimpath", "-ldflags", flags, _PACKAGE],
        timeout_s=_BUILD_TIMEOUT_S,
        env=environment,
    )
    if answer.problem:
        end = "\n".join(answer.output.strip().splitlines()[-5:])
        return None, f"go install {_PACKAGE} {answer.problem}.\n{end}".strip()
    return scratch / "server", ""


def _download(scratch: Path, releases: str) -> tuple[Path | None, str]:
    """The program of the release, or why not."""
    here = _platform()
    if here not in _CHECKSUMS:
        return None, f"download: release {VERSION} has no program for {here}."
    url = f"{releases}/v{VERSION}/toxiproxy-server-{here}"
    _say(f"downloading {url} (once) …")
    program = scratch / "toxiproxy-server"
    try:
        download(
            url,
            program,
            sha256=_CHECKSUMS[here],
            timeout_s=_DOWNLOAD_TIMEOUT_S,
            limit_bytes=_DOWNLOAD_LIMIT_BYTES,
        )
    except DownloadError as error:
        return None, str(error)
    program.chmod(0o755)
    return program, ""


def _say(message: str) -> None:
    sys.stderr.write(f"harness: {message}\n")
    sys.stderr.flush()


TOXIPROXY = Part(
    name="Toxiproxy",
    executable="toxiproxy-server",
    ways=(
        "run `harness doctor --fetch` where Go with its module proxy, or GitHub, can be reached",
        "install it from https://github.com/Shopify/toxiproxy",
    ),
    minimum="2.9",
    version_pattern=r"toxiproxy-server version (\S+)",
    variable="TOXIPROXY_BIN",
    more_places=_in_cache,
)
