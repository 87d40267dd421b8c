"""Where fetched parts are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import MissingPartError
from harness.parts.cache import install, parts_cache, workshop


def test_the_cache_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert parts_cache() == tmp_path / "cache/harness/parts"
    for useless in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", useless)
        assert parts_cache() == tmp_path / "home/.cache/harness/parts"


def test_a_cache_that_cannot_be_written_to_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with (
        pytest.raises(MissingPartError, match="XDG_CACHE_HOME") as raised,
        workshop("x", timeout_s=1, say=pytest.fail),
    ):
        pass
    assert str(tmp_path / "file/harness/parts") in raised.value.what
    with pytest.raises(MissingPartError, match="cannot be written to"):
        install(tmp_path / "program", tmp_path / "file" / "program")


def test_the_workshop_is_empty_and_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    remains = parts_cache() / "x.part" / "of a killed process"
    remains.mkdir(parents=True)
    with workshop("x", timeout_s=1, say=pytest.fail) as scratch:
        assert list(scratch.iterdir()) == []
        (scratch / "program").write_text("#!/bin/sh\n")
        install(scratch / "program", parts_cache() / "x-1" / "program")
    assert not scratch.exists()
    assert (parts_cache() / "x-1" / "program").stat().st_mode & 0o777 == 0o755
    with pytest.raises(ZeroDivisionError), workshop("x", timeout_s=1, say=pytest.fail) as scratch:
        raise ZeroDivisionError
    assert not scratch.exists()


def test_the_workshop_has_one_user_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    heard: list[str] = []
    with workshop("x", timeout_s=1, say=heard.append) as first:
        with (
            pytest.raises(MissingPartError, match=r"held .*x\.lock for 0\.05 s"),
            workshop("x", timeout_s=0.05, say=heard.append),
        ):
            pass
        assert first.exists(), "whoever did not get it must not remove it"
    assert heard == ["another process is fetching this part; waiting for it …"]
