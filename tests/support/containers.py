"""Nodes in containers that run `tests/support/nodes.py`, and what there is on the engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.container import Container, Image, Limits
from harness.errors import MissingPartError
from harness.runtime.spec import NodeSpec
from tests.support import nodes

if TYPE_CHECKING:
    from harness.runtime.docker.engine import Engine
    from harness.runtime.docker.runtime import DockerRuntime

SCRIPT = "/srv/nodes.py"
IMAGE = Image(copies={Path(nodes.__file__): SCRIPT})
PYTHON = ("python3", "-S", "-E")


def engine_or_skip() -> Engine:
    """The engine; without one, the reason is why the test is skipped."""
    from harness.runtime.docker.engine import connect
    from harness.runtime.docker.images import tools_image

    try:
        found = connect()
        tools_image(found, lambda _: None)
    except MissingPartError as error:
        pytest.skip(str(error))
    return found


def container(**limits: Any) -> Container:
    return Container(IMAGE, Limits(**limits))


def spec(runtime: DockerRuntime, name: str, *flags: str, **more: Any) -> NodeSpec:
    """A node that runs that file, listening at every address."""
    argv = [*PYTHON, SCRIPT, *flags, "0.0.0.0", str(nodes.PORT)]
    return nodes.node_spec(runtime, name, **{"argv": argv, **more})


def command(runtime: DockerRuntime, name: str, argv: Sequence[str], **more: Any) -> NodeSpec:
    """A node that runs a command, and counts as ready at once."""

    async def ready() -> bool:
        return True

    return nodes.node_spec(runtime, name, **{"argv": list(argv), "ready": ready, **more})


def script(text: str) -> list[str]:
    """A command that runs some Python."""
    return [*PYTHON, "-c", text]


def on_engine(engine: Engine, label: str) -> list[str]:
    """The names of all containers, networks and volumes with this label (`name=value`), sorted."""
    filters = {"label": label}
    api: Any = engine.api
    found = [
        *(one["Names"][0].lstrip("/") for one in api.containers(all=True, filters=filters)),
        *(one["Name"] for one in api.networks(filters=filters)),
        *(one["Name"] for one in api.volumes(filters=filters)["Volumes"] or ()),
    ]
    return sorted(found)


def of_cluster(engine: Engine, id: str) -> list[str]:
    return on_engine(engine, f"harness.cluster={id}")
