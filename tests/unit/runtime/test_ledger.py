"""The durable record of what must be undone."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BrokenError
from harness.runtime import ledger, proc
from harness.runtime.proc import Process


def place(base: Path, number: int = 99, **changes: Any) -> tuple[str, Path]:
    """A reserved block, with other words in its `owner.json`."""
    id, made = ledger.create(base, "run-1")
    where = made.rename(base / f"127.{number}")
    data = json.loads((where / "owner.json").read_text())
    (where / "owner.json").write_text(json.dumps({**data, **changes}))
    return id, where


def own() -> Process:
    return ledger.Owner.current().process


DEAD = {"pid": 2**22 - 1, "started": 1}


def test_a_cluster_of_a_living_harness_is_no_left_over(tmp_path: Path) -> None:
    _, where = place(tmp_path)
    assert ledger.find_left_over(tmp_path) == []
    assert ledger.sweep(tmp_path) == []
    assert where.exists()


def test_one_of_a_dead_harness_is_found_and_swept(tmp_path: Path) -> None:
    id, where = place(tmp_path, **DEAD)
    (where / "node-1").mkdir()
    (where / "node-1" / "data").write_text("1")
    (found,) = ledger.find_left_over(tmp_path)
    expected = ledger.LeftOver(id, where, DEAD["pid"], "run-1", False, ())
    assert found == expected
    assert ledger.sweep(tmp_path) == [expected]
    assert list(tmp_path.iterdir()) == []


def test_the_same_process_id_at_another_time_is_another_process(tmp_path: Path) -> None:
    place(tmp_path, started=own().started - 1)
    assert len(ledger.find_left_over(tmp_path)) == 1


def test_before_the_last_boot_nobody_lives(tmp_path: Path) -> None:
    space = Path("/proc/self/ns/pid").readlink()
    id, where = place(tmp_path, machine=f"another-boot {space}")
    (where / "ledger.jsonl").write_text(
        json.dumps({"node": "a", "pid": os.getpid(), "started": own().started}) + "\n"
    )
    (found,) = ledger.find_left_over(tmp_path)
    assert (found.id, found.processes) == (id, ())


def test_what_another_container_owns_is_left_alone(tmp_path: Path) -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    place(tmp_path, machine=f"{boot} pid:[1]", **DEAD)
    assert ledger.find_left_over(tmp_path) == []


def test_a_kept_one_is_found_but_not_swept(tmp_path: Path) -> None:
    _, where = place(tmp_path, **DEAD)
    ledger.keep(where)
    assert [found.kept for found in ledger.find_left_over(tmp_path)] == [True]
    assert ledger.sweep(tmp_path) == []
    assert where.exists()
    assert ledger.undo(ledger.find_left_over(tmp_path)[0]) == set()
    assert not where.exists()


def test_by_owner_all_but_kept_ones_are_found(tmp_path: Path) -> None:
    id, _ = place(tmp_path, 97)
    place(tmp_path, 98, **DEAD)
    _, kept = place(tmp_path, 99)
    ledger.keep(kept)
    assert [found.id for found in ledger.find_left_over(tmp_path, own())] == [id]


def test_undo_may_be_repeated_and_spares_who_took_the_place(tmp_path: Path) -> None:
    place(tmp_path, **DEAD)
    (found,) = ledger.find_left_over(tmp_path)
    assert ledger.undo(found) == set()
    assert ledger.undo(found) == set()
    _, where = place(tmp_path)
    assert ledger.undo(found) == set()
    assert where.exists()


def test_read_only_directories_are_removed_and_links_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o555)
    base = tmp_path / "base"
    base.mkdir()
    _, where = place(base, **DEAD)
    inner = where / "node-1" / "inner"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    (where / "node-1" / "link").symlink_to(outside)
    inner.chmod(0o500)
    inner.parent.chmod(0o500)
    ledger.sweep(base)
    assert list(base.iterdir()) == []
    assert stat.S_IMODE(outside.stat().st_mode) == 0o555


def test_half_made_and_half_removed_ones_are_swept_when_old(tmp_path: Path) -> None:
    young, old = tmp_path / ".new-cluster-1", tmp_path / ".old-cluster-2"
    for path in (young, old):
        path.mkdir()
    past = time.time() - 3600
    os.utime(old, (past, past))
    (tmp_path / "something-else").mkdir()
    ledger.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [young.name, "something-else"]


def test_damaged_and_foreign_lines_do_not_stop_the_sweep(tmp_path: Path) -> None:
    _, where = place(tmp_path, **DEAD)
    (where / "ledger.jsonl").write_text('{"node": "a", "pid": null}\n{"node": "a", "pi')
    assert len(ledger.sweep(tmp_path)) == 1


def test_a_file_that_stands_for_a_directory_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    place(elsewhere, **DEAD)
    base = tmp_path / "base"
    base.mkdir()
    (base / "127.99").symlink_to(elsewhere / "127.99")
    assert ledger.find_left_over(base) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_another_user_wrote_is_not_read(tmp_path: Path) -> None:
    _, where = place(tmp_path, **DEAD)
    os.chown(where / "owner.json", 12345, 12345)
    assert ledger.find_left_over(tmp_path) == []
    os.chown(where, 12345, 12345)
    assert ledger.find_left_over(tmp_path) == []


def test_the_shared_directory_is_made_for_all_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = ledger.clusters_dir()
    assert stat.S_IMODE(made.stat().st_mode) == 0o1777
    assert ledger.clusters_dir() == made
    assert [path.name for path in tmp_path.iterdir()] == ["harness-clusters"]
    made.chmod(0o777)  # anybody could rename what is in it
    with pytest.raises(BrokenError, match="cannot be used for clusters"):
        ledger.clusters_dir()


def test_the_pen_writes_at_once(tmp_path: Path) -> None:
    _, where = place(tmp_path)
    pen = ledger.Ledger(where)
    pen.starting("node-1")
    pen.started("node-1", Process(5, 6))
    pen.starting("node-2")
    pen.not_started("node-2")
    lines = (where / "ledger.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"node": "node-1"},
        {"node": "node-1", "pid": 5, "started": 6},
        {"node": "node-2"},
        {"node": "node-2", "pid": None},
    ]
    pen.close()
    pen.close()


def test_a_recycled_process_id_is_never_ours() -> None:
    now = own()
    assert proc.alive(now)
    recycled = Process(now.pid, now.started - 1)
    assert not proc.alive(recycled)
    assert not proc.send(recycled, signal.SIGKILL)
    assert proc.end_all(lambda: []) == set()
