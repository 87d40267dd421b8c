"""How images get their names, what is in their contexts, and which way to one is taken."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.container import Image
from harness.errors import BrokenError, MissingPartError, UsageError
from harness.parts import Part
from harness.runtime.docker import base, images, limits, pull, wheels
from harness.runtime.docker.base import base_image, base_tag
from harness.runtime.docker.build import Build, tree, write_context
from harness.runtime.docker.engine import Engine, Facts
from harness.runtime.docker.images import ensure
from harness.runtime.docker.kernel import NETEM, STATISTIC, kernel_has

FACTS = Facts(
    version="20.10",
    api_version="1.41",
    storage_driver="overlay2",
    cgroup_version="1",
    cgroup_driver="cgroupfs",
    cpus=2,
    memory_bytes=1024**3,
    rootless=False,
    userns=False,
    machine=os.uname().machine,
    kernel=os.uname().release,
)


def make_engine(facts: Facts = FACTS, *, local: bool = True) -> Engine:
    return Engine(cast(Any, None), "an engine", "unix:///engine", local, facts)


ENGINE = make_engine()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of an image, with a file and a program."""
    made = tmp_path / "shop"
    made.mkdir()
    (made / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\n")
    (made / "run").write_text("#!/bin/sh\n")
    (made / "run").chmod(0o755)
    return made


def build_of(folder: Path, **changes: Any) -> Build:
    given: dict[str, Any] = {"args": {"BASE": "base:1"}, "base_id": "sha256:1", **changes}
    return Build("shop", source=(str(folder),), entries=images._contents(folder), **given)


# Contexts and their hash


def test_the_same_files_give_the_same_name_wherever_and_whenever(
    folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    for file in sorted(folder.iterdir(), reverse=True):
        (other / file.name).write_bytes(file.read_bytes())
        (other / file.name).chmod(file.stat().st_mode & ~0o077)  # another umask
        os.utime(other / file.name, (1, 1))
    assert build_of(folder).tag == build_of(other).tag
    assert context(folder) == context(other)


def context(folder: Path) -> bytes:
    file = io.BytesIO()
    write_context(images._contents(folder), file)
    return file.getvalue()


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "run").write_text("#!/bin/bash\n"),
        lambda folder: (folder / "run").chmod(0o644),
        lambda folder: (folder / "run").rename(folder / "walk"),
        lambda folder: (folder / "more").touch(),
        lambda folder: (folder / "empty").mkdir(),
        lambda folder: (folder / "link").symlink_to("run"),
    ],
)
def test_every_change_gives_another_name(folder: Path, change: Callable[[Path], object]) -> None:
    before = build_of(folder).tag
    change(folder)
    assert build_of(folder).tag != before


@pytest.mark.parametrize(
    "change",
    [{"base_id": "sha256:2"}, {"args": {"BASE": "x"}}, {"target": "last"}, {"more": ["wheels"]}],
)
def test_what_is_no_file_counts_as_well(folder: Path, change: dict[str, Any]) -> None:
    assert build_of(folder, **change).tag != build_of(folder).tag


def test_a_context_belongs_to_root_and_keeps_programs_and_links(folder: Path) -> None:
    (folder / "link").symlink_to("run")
    with tarfile.open(fileobj=io.BytesIO(context(folder))) as archive:
        members = {member.name: member for member in archive}
    assert list(members) == ["Dockerfile", "link", "run"]
    assert (members["Dockerfile"].mode, members["run"].mode) == (0o644, 0o755)
    assert members["link"].linkname == "run"
    assert {(member.uid, member.mtime) for member in members.values()} == {(0, 315532800)}


def test_what_python_compiled_is_left_out(folder: Path) -> None:
    before = build_of(folder).tag
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "app.cpython-311.pyc").touch()
    assert build_of(folder).tag == before


def test_dockerignore_counts(folder: Path) -> None:
    (folder / ".dockerignore").write_text("# secrets\n*.key\n")
    before = build_of(folder).tag
    (folder / "my.key").write_text("secret")
    assert build_of(folder).tag == before
    assert "my.key" not in {entry.name for entry in images._contents(folder)}


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        tree(tmp_path / "gone", "files/gone")


def test_copies_and_programs_are_where_the_image_says(tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "main.py").touch()
    program = tmp_path / "server-1.0"
    program.write_text("#!/bin/sh\necho server 1.0\n")
    program.chmod(0o755)
    part = Part("Server", "server", more_places=lambda: [(program, "here")])
    entries = images._files(ENGINE, Image(copies={app: "/srv/shop/app"}, parts=(part,)))
    assert {entry.name: entry.kind for entry in entries} == {
        "files": "d",
        "files/srv": "d",
        "files/srv/shop": "d",
        "files/srv/shop/app": "d",
        "files/srv/shop/app/main.py": "f",
        "files/usr": "d",
        "files/usr/local": "d",
        "files/usr/local/bin": "d",
        "files/usr/local/bin/server": "x",
        "files/usr/local/share": "d",
        "files/usr/local/share/harness.txt": "f",
    }


def test_programs_of_this_machine_are_not_put_on_another(tmp_path: Path) -> None:
    engine = make_engine(Facts(**{**vars(FACTS), "machine": "other"}))
    with pytest.raises(MissingPartError, match="sh of this machine cannot run"):
        images._files(engine, Image(parts=(Part("sh", "sh"),)))


# Which way is taken


class Steps:
    """Stands for the engine and the registry; writes down what was done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.local: set[str] = set()
        self.registry: str | None = "no registry answers."
        self.fails: set[str] = set()
        self.blocked: MissingPartError | None = None
        self.done: list[str] = []
        for module in (base, images):
            monkeypatch.setattr(module, "find_image", self.find)
            monkeypatch.setattr(module, "pull", self.pull)
            monkeypatch.setattr(module, "build", self.build)
        monkeypatch.setattr(base, "obstacle", lambda _: self.blocked)
        monkeypatch.setattr(base, "_from_packages", self.from_packages)

    def find(self, engine: Engine, name: str) -> str | None:
        return f"sha256:{name}" if name in self.local else None

    def pull(self, engine: Engine, name: str, tell: object) -> str | None:
        self.done.append(f"pull {name}")
        return self.registry

    def build(self, engine: Engine, wanted: Build, tell: object) -> str:
        self.done.append(f"build {wanted.name}")
        if wanted.name in self.fails:
            raise BrokenError(f"The image {wanted.name} could not be built.", why="mirror")
        return wanted.tag

    def from_packages(
        self, engine: Engine, tag: str, packages: Any, tell: object, scratch: Path, why: str
    ) -> None:
        self.done.append("packages")
        self.local.add(tag)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Steps:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Steps(monkeypatch)


def told(_: str) -> None:
    pass


def test_a_base_that_is_here_is_used(steps: Steps) -> None:
    steps.local.add(base_tag(ENGINE))
    assert base_image(ENGINE, told) == base_tag(ENGINE)
    assert steps.done == []


def test_without_a_registry_the_base_is_made_from_packages(steps: Steps) -> None:
    base_image(ENGINE, told)
    assert steps.done == [f"pull {base.PUBLIC}", "packages"]


def test_with_a_registry_it_is_made_from_the_public_image(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = []
    api = SimpleNamespace(tag=lambda *said: tags.append(said), remove_image=lambda _: None)
    engine = Engine(cast(Any, api), "an engine", "unix:///engine", True, FACTS)
    steps.registry = None
    repository, _, version = base_tag(engine).partition(":")
    assert base_image(engine, told) == f"{repository}:{version}"
    assert steps.done == [f"pull {base.PUBLIC}", "build base"]
    assert [said[1:] for said in tags] == [(repository, version)]


def test_a_public_image_that_is_here_is_not_pulled(steps: Steps) -> None:
    steps.local.add(base.PUBLIC)
    steps.fails.add("base")
    base_image(ENGINE, told)
    assert steps.done == ["build base", "packages"]  # what could not be built is made


def test_each_list_of_packages_has_a_base_of_its_own() -> None:
    plain, redis = base_tag(ENGINE), base_tag(ENGINE, ["redis-server"])
    assert plain != redis
    assert base_tag(ENGINE, ["a1", "b1"]) == base_tag(ENGINE, ["b1", "a1"])


@pytest.mark.parametrize("name", ["", "-o", "x; rm", "UPPER", "--include"])
def test_no_package_is_an_option(name: str) -> None:
    with pytest.raises(UsageError, match="is not the name of a Debian package"):
        base_tag(ENGINE, [name])


def test_a_stock_image_that_is_here_is_used(steps: Steps) -> None:
    steps.local.add("redis:7")
    assert ensure(ENGINE, Image(stock="redis:7", packages=["redis-server"]), told) == "redis:7"
    assert steps.done == []


def test_a_stock_image_is_pulled_before_its_fallback_is_made(steps: Steps) -> None:
    steps.registry = None
    assert ensure(ENGINE, Image(stock="redis:7", packages=["redis-server"]), told) == "redis:7"
    assert steps.done == ["pull redis:7"]


def test_its_fallback_is_made_where_no_registry_answers(steps: Steps) -> None:
    steps.fails.add("base")  # no network in there
    made = ensure(ENGINE, Image(stock="redis:7", packages=["redis-server"]), told)
    public = f"pull {base.PUBLIC}"
    made_of = ["build base", "packages", "build redis-server"]
    assert steps.done == ["pull redis:7", public, "packages", *made_of]
    # The next time nobody waits for a registry.
    steps.done.clear()
    steps.local.add(made)
    again = ensure(ENGINE, Image(stock="redis:7", packages=["redis-server"]), told)
    assert (again, steps.done) == (made, [])


def test_a_stock_image_alone_is_missing_without_a_registry(steps: Steps) -> None:
    with pytest.raises(MissingPartError, match="The image redis:7 is not to be had") as caught:
        ensure(ENGINE, Image(stock="redis:7"), told)
    assert caught.value.why == "no registry answers."
    assert "docker pull redis:7" in str(caught.value.do)


def test_a_folder_without_a_dockerfile(steps: Steps, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no Dockerfile in"):
        ensure(ENGINE, Image(tmp_path), told)


def test_names_of_images() -> None:
    def name(image: Image) -> str:
        return images._name(image, Path(image.folder or "/plain"))

    assert name(Image("compose/images/my Shop_2")) == "my-shop-2"
    assert name(Image(copies={Path("/x"): "/srv/server.py"})) == "server"
    assert name(Image(packages=["redis-server"])) == "redis-server"
    assert name(Image()) == "plain"


# Registries


class Registry:
    """An API whose registry says these events, or raises."""

    def __init__(self, *said: Any) -> None:
        self.said = said
        self.asked = 0

    def pull(self, *_: object, **__: object) -> Any:
        self.asked += 1
        for each in self.said:
            if isinstance(each, Exception):
                raise each
            if callable(each):
                each()
            else:
                yield each


@pytest.fixture
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("docker", reason="pip install 'chaos-harness[docker]'")
    monkeypatch.setattr(pull, "_silent", {})


def pulled(registry: Registry, name: str = "redis:7") -> str | None:
    engine = Engine(cast(Any, registry), "an engine", "unix:///engine", True, FACTS)
    return pull.pull(engine, name, told)


@pytest.mark.usefixtures("forget")
def test_an_image_is_pulled() -> None:
    assert pulled(Registry({"status": "Pulling"}, {"status": "Done"})) is None


@pytest.mark.usefixtures("forget")
def test_a_registry_that_cannot_be_reached_is_asked_once() -> None:
    registry = Registry(OSError("no such host"))
    assert "no such host" in str(pulled(registry))
    assert "no such host" in str(pulled(registry, "postgres:16"))
    assert registry.asked == 1
    assert pulled(registry, "elsewhere.example/redis:7")
    assert registry.asked == 2


@pytest.mark.usefixtures("forget")
def test_a_registry_that_refuses_one_image_is_asked_for_others() -> None:
    registry = Registry({"status": "Pulling"}, {"error": "manifest unknown"})
    assert pulled(registry) == "redis:7 cannot be pulled: manifest unknown"
    pulled(registry, "postgres:16")
    assert registry.asked == 2


@pytest.mark.usefixtures("forget")
def test_a_silent_registry_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    over = threading.Event()
    monkeypatch.setattr(pull, "ANSWER_TIMEOUT_S", 0.05)
    registry = Registry(lambda: over.wait(10), {"status": "too late"})
    try:
        assert "did not answer within 0.05 s" in str(pulled(registry))
        assert "did not answer" in str(pulled(registry))
        assert registry.asked == 1
    finally:
        over.set()


# Wheels


def test_wheels_depend_on_what_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    key = wheels.site_key(["a", "b"], "x86_64", "3.11")
    assert wheels.site_key(["b", "a"], "x86_64", "3.11") == key
    assert wheels.site_key(["a"], "x86_64", "3.11") != key
    assert wheels.site_key(["a", "b"], "aarch64", "3.11") != key
    (tmp_path / "constraints.txt").write_text("a==1\n")
    assert wheels.site_key(["a", "b"], "x86_64", "3.11") != key
    assert wheels.site_key([], "x86_64", "3.11") == "empty"


def test_wheels_that_are_not_to_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(MissingPartError, match="nothing-of-this-name") as caught:
        wheels.site(["nothing-of-this-name"], "x86_64", "3.11", told)
    assert "pip exited with status 1" in str(caught.value.why)
    assert not list(tmp_path.glob("harness/parts/site-*/"))


# What cannot work


def test_a_kernel_is_asked_in_what_way_it_answers(tmp_path: Path) -> None:
    release = os.uname().release
    assert kernel_has(*NETEM, root=tmp_path) is None
    (tmp_path / "proc").mkdir()
    config = "# x\nCONFIG_NET_SCH_NETEM=m\nCONFIG_NETFILTER_XT_MATCH_STATISTIC=y\n"
    (tmp_path / "proc/config.gz").write_bytes(gzip.compress(config.encode()))
    assert kernel_has(*STATISTIC, root=tmp_path) is True
    assert kernel_has(*NETEM, root=tmp_path) is None  # a module, and where are those?
    modules = tmp_path / "lib/modules" / release
    modules.mkdir(parents=True)
    (modules / "modules.dep").write_text("kernel/net/sched/sch_red.ko.xz:\n")
    assert kernel_has(*NETEM, root=tmp_path) is False
    (modules / "modules.dep").write_text("kernel/net/sched/sch_netem.ko.xz:\n")
    assert kernel_has(*NETEM, root=tmp_path) is True
    assert kernel_has("CONFIG_NONE", "none", root=tmp_path) is False
    (tmp_path / "sys/module/none").mkdir(parents=True)
    assert kernel_has("CONFIG_NONE", "none", root=tmp_path) is True


@pytest.mark.parametrize(
    ("loss", "netem", "words"),
    [
        (True, True, None),
        (None, None, None),
        (True, False, "has no netem"),
        (False, True, "packet loss is refused"),
    ],
)
def test_what_a_kernel_lacks_is_told(
    loss: bool | None, netem: bool | None, words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "packet_loss", lambda: loss)
    monkeypatch.setattr(limits, "kernel_has", lambda *_: netem)
    monkeypatch.setattr(limits, "find_image", lambda *_: "sha256:1")
    found = limits.limits_of(ENGINE)
    assert (words in found[0]) if words else (found == [])


def test_an_engine_far_away_is_not_judged_by_this_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "packet_loss", pytest.fail)
    monkeypatch.setattr(limits, "find_image", lambda *_: "sha256:1")
    (line,) = limits.limits_of(make_engine(local=False))
    assert "no processes of this machine" in line


def test_no_way_to_a_base_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_kernel", lambda _: "")
    monkeypatch.setattr(limits, "find_image", lambda *_: None)
    monkeypatch.setattr(limits, "obstacle", lambda _: MissingPartError("No mmdebstrap."))
    rootless = make_engine(Facts(**{**vars(FACTS), "rootless": True}))
    first, second = limits.limits_of(rootless)
    assert "rootless" in first
    assert second == "No base image is here, and only a registry can give one: No mmdebstrap."


def test_a_base_for_another_machine_is_not_made_here() -> None:
    blocked = base.obstacle(make_engine(Facts(**{**vars(FACTS), "machine": "other"})))
    assert blocked is not None
    assert "It is other" in str(blocked.why)
