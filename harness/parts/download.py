"""Download one file whose SHA-256 is known."""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from pathlib import Path

_SOCKET_TIMEOUT_S = 15.0  # without a single byte
_CHUNK_BYTES = 64 * 1024


class DownloadError(Exception):
    """Why the file is not there, as one sentence with the address."""


def download(url: str, path: Path, *, sha256: str, timeout_s: float, limit_bytes: int) -> None:
    """Write what `url` answers to `path`. On a `DownloadError` there is no file.

    The content counts only if its SHA-256 is `sha256`. Gives up after about `timeout_s`, or after
    `limit_bytes`.
    """
    try:
        with urllib.request.urlopen(url, timeout=min(_SOCKET_TIMEOUT_S, timeout_s)) as answer:
            found = _save(answer, path, time.monotonic() + timeout_s, limit_bytes)
        if found != sha256:
            raise DownloadError(
                f"its SHA-256 is {found}, not {sha256}: it is damaged or not the program meant."
            )
    except (OSError, http.client.HTTPException, DownloadError) as error:
        path.unlink(missing_ok=True)
        raise DownloadError(f"download of {url}: {_reason(error)}") from None
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _save(answer: http.client.HTTPResponse, path: Path, deadline: float, limit_bytes: int) -> str:
    """Write the answer's body; its SHA-256."""
    announced = answer.headers.get("Content-Length")
    digest = hashlib.sha256()
    size = 0
    with path.open("wb") as file:
        while chunk := answer.read1(_CHUNK_BYTES):
            size += len(chunk)
            if size > limit_bytes:
                raise DownloadError(f"it is larger than {limit_bytes} bytes.")
            if time.monotonic() > deadline:
                raise DownloadError(f"too slow: {size} bytes when the time was over.")
            digest.update(chunk)
            file.write(chunk)
    if announced is not None and size != int(announced):
        raise DownloadError(f"interrupted after {size} of {announced} bytes.")
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        error.close()  # it is the answer as well, with a socket
        return f"the server says {error.code} {error.reason}."
    if isinstance(error, urllib.error.URLError):
        return f"{error.reason}."
    return str(error) or f"{type(error).__name__}."
