"""How Toxiproxy would be fetched here; the fetching itself is tested with real programs."""

from __future__ import annotations

import platform
import re
import shutil
from pathlib import Path

import pytest

from harness.errors import MissingPartError
from harness.parts import fetch_toxiproxy, fetchable_by, toxiproxy, toxiproxy_binary


@pytest.mark.parametrize(
    ("system", "machine", "asset"),
    [
        ("Linux", "x86_64", "linux-amd64"),
        ("Linux", "aarch64", "linux-arm64"),
        ("Darwin", "arm64", "darwin-arm64"),
        ("Darwin", "x86_64", "darwin-amd64"),
    ],
)
def test_the_release_has_a_program_for_common_machines(
    system: str, machine: str, asset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert toxiproxy._platform() == asset
    assert re.fullmatch("[0-9a-f]{64}", toxiproxy._CHECKSUMS[asset])


def test_ways_to_fetch_depend_on_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert fetchable_by() == "built with go install or downloaded from its release 2.12.0"
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert fetchable_by() == "downloaded from its release 2.12.0"
    monkeypatch.setattr(platform, "machine", lambda: "vax")
    assert fetchable_by() is None


def test_no_way_to_fetch_it_gives_every_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("TOXIPROXY_BIN", raising=False)
    monkeypatch.setattr(platform, "machine", lambda: "vax")
    with pytest.raises(MissingPartError) as raised:
        fetch_toxiproxy()
    assert "Toxiproxy 2.12.0 could not be fetched." in str(raised.value)
    assert "there is no go on PATH" in str(raised.value)
    assert "has no program for" in str(raised.value)
    assert "set TOXIPROXY_BIN" in str(raised.value)


def test_a_wrong_variable_is_not_papered_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TOXIPROXY_BIN", str(tmp_path / "nowhere"))
    monkeypatch.setattr(toxiproxy, "_build", pytest.fail)
    monkeypatch.setattr(toxiproxy, "_download", pytest.fail)
    with pytest.raises(MissingPartError, match=r"nowhere \(\$TOXIPROXY_BIN\) is not there"):
        toxiproxy_binary()
