"""Which programs will do for a part, and what is said of those that will not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import MissingPartError
from harness.parts import Found, Missing, Part, find, look_for
from harness.parts import part as part_module
from harness.parts.program import Answer

REDIS = Part("Redis", "redis-server", ways=("apt-get install redis-server",), minimum="7.0")

Says = Callable[[str, str], Path]


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Says:
    """Put a program into `folder`, which answers `output` when asked for its version."""
    outputs: dict[str, Answer] = {}

    def answer(argv: list[str], *, timeout_s: float) -> Answer:
        assert argv[1:] == ["--version"]
        assert timeout_s == part_module.VERSION_TIMEOUT_S
        return outputs[argv[0]]

    def put(path: str, output: str) -> Path:
        program = tmp_path / path
        program.parent.mkdir(exist_ok=True)
        program.touch(mode=0o755)
        problem = "exited with status 127" if "error" in output else None
        outputs[str(program)] = Answer(output, problem)
        return program

    monkeypatch.setattr(part_module, "run_program", answer)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{tmp_path / 'more'}")
    return put


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0", "7.0.15"),
        ("redis 7.0", "7.0"),
        ("postgres (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)", "15.8"),
        ("nats-server: v12.10.7", "12.10.7"),
    ],
)
def test_a_program_on_path_is_found_with_its_version(says: Says, output: str, version: str) -> None:
    program = says("bin/redis-server", output)
    assert find(REDIS) == Found(program, version, "PATH")


def test_the_first_program_on_path_counts(says: Says) -> None:
    first = says("bin/redis-server", "v=7.2.1")
    says("more/redis-server", "v=7.4.0")
    assert find(REDIS).path == first


@pytest.mark.parametrize("version", ["6.99.9", "6.0", "0.7.0"])
def test_an_old_program_is_refused_with_both_versions(says: Says, version: str) -> None:
    program = says("bin/redis-server", f"Redis server v={version} sha=0")
    with pytest.raises(MissingPartError) as raised:
        find(REDIS)
    assert raised.value.what == "Redis 7.0 or newer is needed and is not to be had here."
    assert raised.value.why == (
        f"{program} (PATH) is too old: version {version}, and 7.0 is needed."
    )
    assert raised.value.do == "apt-get install redis-server"


@pytest.mark.parametrize("version", ["7.0", "7.0.0", "7.10", "10.0", "7.0-rc1"])
def test_versions_compare_as_numbers(says: Says, version: str) -> None:
    says("bin/redis-server", version)
    assert isinstance(look_for(REDIS), Found)


def test_without_a_minimum_any_version_will_do(says: Says) -> None:
    says("bin/redis-server", "v=0.0.1")
    assert find(Part("Redis", "redis-server")).version == "0.0.1"


def test_a_build_from_source_that_names_no_number_will_do(says: Says) -> None:
    says("bin/proxy", "proxy version git")
    part = Part("Proxy", "proxy", minimum="2.9", version_pattern=r"proxy version (\S+)")
    assert find(part).version == "git"


def test_another_program_of_that_name_is_refused(says: Says) -> None:
    says("bin/proxy", "Usage: proxy [options] 3.14\nmore")
    part = Part("Proxy", "proxy", version_pattern=r"proxy version (\S+)")
    answer = look_for(part)
    assert isinstance(answer, Missing)
    assert "does not answer to --version like Proxy: 'Usage: proxy [options] 3.14'" in str(
        answer.error
    )


def test_a_program_that_fails_is_refused_whatever_it_prints(says: Says) -> None:
    says("bin/redis-server", "error while loading shared libraries: libx.so.7.1")
    with pytest.raises(MissingPartError, match="it exited with status 127"):
        find(REDIS)


def test_no_program_at_all_names_every_way_to_get_one(says: Says) -> None:
    part = Part("X", "x-server", ways=("apt-get install x", "pip install x"), variable="X_BIN")
    with pytest.raises(MissingPartError) as raised:
        find(part)
    assert str(raised.value) == (
        "X is needed and is not to be had here.\n"
        "Why: There is no x-server on PATH.\n"
        "Do: apt-get install x; or pip install x; or set X_BIN to the path of one"
    )
    with pytest.raises(MissingPartError, match="Install Y, so that y-server is on PATH"):
        find(Part("Y", "y-server"))


def test_further_places_come_after_path(says: Says) -> None:
    program = says("elsewhere/redis-server", "v=7.4.0")
    part = Part("Redis", "redis-server", minimum="7.0", more_places=lambda: [(program, "cache")])
    assert find(part) == Found(program, "7.4.0", "cache")
    says("bin/redis-server", "v=6.0.0")
    assert find(part).path == program, "an old one on PATH must not hide a good one elsewhere"
    on_path = says("bin/redis-server", "v=7.0.0")
    assert find(part) == Found(on_path, "7.0.0", "PATH")


def test_the_variable_decides_alone(
    says: Says, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = Part("Redis", "redis-server", variable="REDIS_BIN")
    says("bin/redis-server", "v=7.0.0")
    named = says("own/build", "v=8.0.0")
    monkeypatch.setenv("REDIS_BIN", str(named))
    assert find(part) == Found(named, "8.0.0", "$REDIS_BIN")
    monkeypatch.setenv("REDIS_BIN", str(tmp_path / "nowhere"))
    with pytest.raises(MissingPartError, match=r"nowhere \(\$REDIS_BIN\) is not there"):
        find(part)
    named.chmod(0o644)
    monkeypatch.setenv("REDIS_BIN", str(named))
    with pytest.raises(MissingPartError, match="may not be executed"):
        find(part)
    monkeypatch.setenv("REDIS_BIN", "")
    assert find(part).version == "7.0.0"
