"""Images built on a real engine: missing, stale, broken, by several at once; and run."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.container import Image
from harness.errors import BrokenError, MissingPartError
from harness.runtime.docker.build import CONTENT_LABEL, find_image
from harness.runtime.docker.engine import Engine
from harness.runtime.docker.images import ensure, tools_image, toxiproxy_image

pytestmark = pytest.mark.live

RUN_TIMEOUT_S = 60

CHILD = """
import sys
from harness.container import Image
from harness.runtime.docker.engine import connect
from harness.runtime.docker.images import ensure
print(ensure(connect(), Image(sys.argv[1]), lambda line: print(line, flush=True)))
"""


@pytest.fixture
def folder(tmp_path: Path, engine: Engine) -> Iterator[Path]:
    """The folder of an image that nobody else has. The images made of it are removed."""
    made = tmp_path / f"test-{uuid.uuid4().hex[:12]}"
    made.mkdir()
    (made / "Dockerfile").write_text(
        "ARG BASE\nFROM ${BASE}\nCOPY files/ /\nCOPY site/ /usr/local/lib/harness-site/\n"
        "COPY said /srv/said\nUSER 1000:1000\n"
    )
    (made / "said").write_text("one\n")
    yield made
    for image in engine.api.images(name=f"harness-{made.name}"):
        engine.api.remove_image(image["Id"], force=True)


def run(engine: Engine, image: str, *argv: str, **options: Any) -> str:
    """What a command prints in a container of the image."""
    config = engine.api.create_host_config(**options)
    container = engine.api.create_container(image, list(argv), host_config=config)["Id"]
    try:
        engine.api.start(container)
        status = engine.api.wait(container, timeout=RUN_TIMEOUT_S)["StatusCode"]
        said = engine.api.logs(container).decode()
    finally:
        engine.api.remove_container(container, force=True, v=True)
    assert status == 0, said
    return said


def test_an_image_is_built_when_missing_and_again_when_stale(
    engine: Engine, folder: Path, tmp_path: Path
) -> None:
    told: list[str] = []
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text("print('main')\n")
    image = Image(folder, copies={tmp_path / "app": "/srv/app"})
    first = ensure(engine, image, told.append)
    assert told == [f"building the image {folder.name} …"]
    assert ensure(engine, image, told.append) == first
    assert len(told) == 1
    (folder / "said").write_text("two\n")
    second = ensure(engine, image, told.append)
    assert second != first
    assert len(told) == 2
    assert run(engine, first, "cat", "/srv/said") == "one\n"
    assert run(engine, second, "sh", "-c", "cat /srv/said; id -u; python3 /srv/app/main.py") == (
        "two\n1000\nmain\n"
    )
    labels = engine.api.inspect_image(second)["Config"]["Labels"]
    assert labels[CONTENT_LABEL].startswith(second.rpartition(":")[2])


def test_a_build_that_fails_says_why(engine: Engine, folder: Path) -> None:
    with (folder / "Dockerfile").open("a") as file:
        file.write("RUN echo this went wrong && false\n")
    with pytest.raises(BrokenError, match="could not be built") as caught:
        ensure(engine, Image(folder), lambda _: None)
    assert "this went wrong" in str(caught.value.why)
    assert engine.api.images(name=f"harness-{folder.name}") == []
    made = re.findall(r"^ ---> ([0-9a-f]{12})$", str(caught.value.why), re.MULTILINE)
    assert len(made) > 2
    (base,) = [part for part in made if find_image(engine, part)]
    assert find_image(engine, base) == find_image(engine, tools_image(engine, lambda _: None))


def test_an_image_of_nothing_but_the_base(engine: Engine) -> None:
    image = ensure(engine, Image(), lambda _: None)
    assert run(engine, image, "id", "-u") == "1000\n"


def test_of_several_processes_one_builds(engine: Engine, folder: Path) -> None:
    argv = [sys.executable, "-c", CHILD, str(folder)]
    children = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [child.communicate(timeout=RUN_TIMEOUT_S)[0].splitlines() for child in children]
    assert len({lines[-1] for lines in said}) == 1
    assert sum(f"building the image {folder.name} …" in lines for lines in said) == 1


def test_a_stock_image_of_a_registry_that_is_not_there(engine: Engine) -> None:
    with pytest.raises(MissingPartError, match=r"127\.0\.0\.1:1/none:1 is not to be had"):
        ensure(engine, Image(stock="127.0.0.1:1/none:1"), lambda _: None)


def test_the_base_has_the_tools_and_a_home(engine: Engine) -> None:
    base = tools_image(engine, lambda _: None)
    tools = "iptables ip ss tc setpriv nc ps python3"
    run(engine, base, "sh", "-c", f"for each in {tools}; do command -v $each || exit 1; done")
    assert run(engine, base, "stat", "-c", "%u:%g", "/data") == "1000:1000\n"
    moved = "LD_PRELOAD=/usr/local/lib/libfaketime.so.1 FAKETIME='@2001-02-03 04:05:06'"
    assert run(engine, base, "sh", "-c", f"{moved} date +%Y") == "2001\n"


def test_toxiproxy_holds_every_address_of_its_network_and_no_privilege(engine: Engine) -> None:
    image = toxiproxy_image(engine, lambda _: None)
    config = engine.api.create_host_config(
        cap_drop=["ALL"], cap_add=["NET_ADMIN", "SETUID", "SETGID", "SETPCAP"]
    )
    container = engine.api.create_container(
        image, environment={"LINKS": "10.78.128.0/17"}, host_config=config
    )["Id"]
    try:
        engine.api.start(container)
        ask = (
            "for i in $(seq 100); do printf 'GET /version HTTP/1.0\\r\\n\\r\\n' "
            "| nc -w2 10.78.200.3 8474 && break; sleep 0.05; done; "
            "grep -E 'Uid|CapEff' /proc/1/status"
        )
        wanted = engine.api.exec_create(container, ["sh", "-c", ask], user="65534")
        said = engine.api.exec_start(wanted["Id"]).decode()
    finally:
        engine.api.remove_container(container, force=True, v=True)
    assert '"version":' in said
    assert "Uid:\t65534\t65534" in said
    assert "CapEff:\t0000000000000000" in said
