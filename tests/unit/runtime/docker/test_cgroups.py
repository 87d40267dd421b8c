"""What the kernel counts for a container, read from folders as both versions have them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.runtime.docker.cgroups import CgroupSampler, Group

PID = os.getpid()


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def group(root: Path, version: int, monkeypatch: pytest.MonkeyPatch, **values: str) -> Group:
    """A container's group; `values` are what the kernel says."""
    said = {"cpu_ns": "1500000000", "pids": "11\n12\n", "rss": "4096", "threads": "5\n"} | values
    if version == 1:
        lines = "4:memory:/docker/c1\n3:cpu,cpuacct:/docker/c1\n2:pids:/docker/c1\n1:name=x:/\n"
        write(
            root,
            {
                "memory/docker/c1/cgroup.procs": said["pids"],
                "memory/docker/c1/memory.stat": f"cache 999\nrss 1\ntotal_rss {said['rss']}\n",
                "cpuacct/docker/c1/cpuacct.usage": said["cpu_ns"] + "\n",
                "pids/docker/c1/pids.current": said["threads"],
            },
        )
    else:
        lines = "0::/system.slice/c1.scope\n"
        folder = "system.slice/c1.scope"
        write(
            root,
            {
                f"{folder}/cgroup.procs": said["pids"],
                f"{folder}/memory.stat": f"anon {said['rss']}\nfile 999\n",
                f"{folder}/cpu.stat": f"usage_usec {int(said['cpu_ns']) // 1000}\nuser_usec 1\n",
                f"{folder}/pids.current": said["threads"],
            },
        )
    real = Path.read_text

    def read_text(self: Path, *arguments: str) -> str:
        return lines if str(self) == f"/proc/{PID}/cgroup" else real(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", read_text)
        return Group(PID, root)


@pytest.mark.parametrize("version", [1, 2])
def test_both_versions_say_the_same(
    tmp_path: Path, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = group(tmp_path, version, monkeypatch)
    assert found.processes() == [11, 12]
    assert found.cpu_s() == 1.5
    assert found.resident_bytes() == 4096
    assert found.threads() == 5


def test_this_process_is_in_its_own_group() -> None:
    try:
        found = Group(PID).processes()
    except OSError as error:
        pytest.skip(f"control groups cannot be read here: {error}")
    assert PID in found


def test_a_sample_has_the_rise_since_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = CgroupSampler()
    first = group(tmp_path, 2, monkeypatch, cpu_ns="2000000000")
    (one,) = sampler.sample({"node-1": first}, now=0)
    assert (one.node, one.processes, one.threads, one.rss_bytes) == ("node-1", 2, 5, 4096)
    assert (one.cpu_s, one.cpu_percent, one.open_files) == (2.0, 0.0, None)
    group(tmp_path, 2, monkeypatch, cpu_ns="2500000000")
    (two,) = sampler.sample({"node-1": first}, now=1_000_000_000)
    assert (two.cpu_s, two.cpu_percent) == (2.5, 50.0)


def test_a_restart_does_not_make_the_total_fall(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = CgroupSampler()
    sampler.sample({"node-1": group(tmp_path, 1, monkeypatch, cpu_ns="3000000000")}, now=0)
    again = group(tmp_path, 1, monkeypatch, cpu_ns="250000000")
    (sample,) = sampler.sample({"node-1": again}, now=500_000_000)
    assert (sample.cpu_s, sample.cpu_percent) == (3.25, 50.0)


def test_one_that_ended_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = group(tmp_path / "a", 2, monkeypatch)
    gone = group(tmp_path / "b", 2, monkeypatch)
    (tmp_path / "b" / "system.slice/c1.scope/cpu.stat").unlink()
    damaged = group(tmp_path / "c", 2, monkeypatch, threads="")
    found = CgroupSampler().sample({"node-3": there, "node-2": gone, "node-1": damaged}, now=0)
    assert [sample.node for sample in found] == ["node-3"]
