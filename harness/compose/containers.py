"""What the nodes of a service run in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from harness.compose.model import Service
from harness.compose.nodes import host_names
from harness.compose.stand_ins import with_stand_in
from harness.container import HOME, Container, Image, Limits

_OTHER_HOME = "/var/lib/harness-home"


def image_of(service: Service, replaced: Mapping[str, Image]) -> Image:
    """The image of a service: what the user put in its place, by the name of the service or of the
    image, or else as the file says."""
    for name in (service.name, service.image):
        if name is not None and name in replaced:
            return replaced[name]
    if service.build is not None:
        return Image(build=service.build)
    assert service.image is not None, "a service has an image or a build"
    return with_stand_in(service.image)


def container_of(
    service: Service,
    image: Image,
    services: Mapping[str, Service],
    nodes: Mapping[str, Sequence[str]],
) -> Container:
    """What each node of `service` runs in; `nodes` are those of all `services`."""
    users = Counter(
        volume.name
        for one in services.values()
        for volume in one.volumes
        for _node in nodes[one.name]
        if volume.name is not None
    )
    shared = {v.path: v.name for v in service.volumes if v.name is not None and users[v.name] > 1}
    own = [volume.path for volume in service.volumes if volume.path not in shared]
    # A node always has a volume of its own: the first of the file's, or one that nobody looks at.
    taken = {*shared, *service.mounts, *(path.partition(":")[0] for path in service.tmpfs)}
    home = own[0] if own else _OTHER_HOME if _covers(HOME, taken) else HOME
    return Container(
        image=image,
        limits=_limits(service),
        home=home,
        entrypoint=service.entrypoint,
        user=service.user,
        working_dir=service.working_dir,
        volumes=own[1:],
        mounts={path: here.absolute() for path, here in service.mounts.items()},
        tmpfs=service.tmpfs,
        health=None if service.health is None else service.health.command if service.health else (),
        health_timeout_s=service.health.timeout_s if service.health else None,
        shared=shared,
        read_only=[volume.path for volume in service.volumes if volume.read_only],
        names=host_names(services, nodes, service.name),
        hosts=service.hosts,
        hostname=service.hostname,
        ulimits={name: both for name, both in service.ulimits.items() if name != "nofile"},
        sysctls=service.sysctls,
        shm_bytes=service.shm_bytes,
        stop_signal=service.stop_signal,
        stop_timeout_s=service.stop_timeout_s,
    )


def _covers(home: str, taken: set[str]) -> bool:
    return any(path == home or path.startswith(f"{home}/") for path in taken)


def _limits(service: Service) -> Limits:
    """What the file says, and the harness's own limits where it says nothing."""
    given: dict[str, Any] = {
        "memory_bytes": service.memory_bytes,
        "cpus": service.cpus,
        "processes": service.processes,
    }
    if "nofile" in service.ulimits and service.ulimits["nofile"][0] > 0:
        given["open_files"] = service.ulimits["nofile"][0]
    return Limits(**{name: value for name, value in given.items() if value})
