"""A whole compose file: which of its services are to run, and what they are."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from harness.compose import keys
from harness.compose.files import interpolated, read_variables, read_yaml
from harness.compose.model import Project, Service
from harness.compose.places import At, Notes
from harness.compose.service import Surroundings, profiles_of, read_service
from harness.errors import UsageError

_MAPPINGS = ("configs", "networks", "secrets", "services", "volumes")

_ONE_NETWORK = "all services are on the one network of the cluster"


def read_project(
    file: Path,
    environ: Mapping[str, str],
    *,
    only: Sequence[str] = (),
    profiles: Sequence[str] = (),
    scale: Mapping[str, int] = MappingProxyType({}),
    replaced: Collection[str] = (),
    ignore: Sequence[str] = (),
) -> Project:
    """The services of `file` that run by default or are of one of the `profiles`, or `only` those
    that are named; `scale` says how often. How images are built that are `replaced`, by the name of
    the service or of the image, does not matter. Variables come from `environ` and from `.env`
    beside the file.

    Raises `UsageError` for a file that is none, and one that lists all keys that cannot be had,
    except those at the places in `ignore`.
    """
    notes = Notes(file, ignore)
    beside = file.parent / ".env"
    defaults = read_variables(beside, environ) if beside.is_file() else {}
    values = {**{name: value for name, value in defaults.items() if value is not None}, **environ}
    raw = read_yaml(file)
    services = _chosen(raw, notes, only, profiles)
    # Only what runs: a variable that a service left out insists on need not be set.
    wanted = {**raw, "services": {name: raw["services"][name] for name in services}}
    top = At("", interpolated(wanted, values, notes), notes).entries()
    keys.judge(top, {*_MAPPINGS, "name", "version"}, {}, keys.TOP_REFUSED)
    declared = {key: top[key].entries() if key in top else {} for key in _MAPPINGS}
    around = Surroundings(
        file.parent,
        values,
        declared["volumes"],
        declared["secrets"],
        declared["configs"],
        replaced,
    )
    read = {name: read_service(name, declared["services"][name], around) for name in services}
    _judge_volumes(declared["volumes"], read)
    _judge_networks(declared["networks"], notes)
    read = _scaled(read, scale, notes)
    for name, service in read.items():
        for other in service.depends_on:
            if other not in raw["services"]:
                raise UsageError(
                    f"{file}: services.{name}.depends_on names {other!r}, which is no service.",
                    do=f"There are {', '.join(sorted(raw['services']))}.",
                )
    read = {name: _among(read, service, notes) for name, service in read.items()}
    notes.raise_if_refused()
    for name, service in read.items():
        if service.image is None and service.build is None and name not in replaced:
            raise declared["services"][name].wrong("a service with an `image` or a `build`")
    name = top["name"].text() if "name" in top and not top["name"].missing else ""
    return Project(name or _name(file), read, notes.ignored)


def _chosen(
    raw: Mapping[str, object], notes: Notes, only: Sequence[str], profiles: Sequence[str]
) -> list[str]:
    """The names of the services that are to run, in the order of the file."""
    services = At("services", raw.get("services"), notes).entries()
    if not services:
        raise UsageError(
            f"{notes.file} has no services.",
            do="Name the file that `docker compose` is used with.",
        )
    if unknown := [name for name in only if name not in services]:
        raise UsageError(
            f"{notes.file} has no service {unknown[0]!r}.", do=f"There are {', '.join(services)}."
        )
    if only:
        return [name for name in services if name in only]
    chosen = []
    for name, service in services.items():
        needed = profiles_of(service)
        if not needed or "*" in profiles or set(needed) & set(profiles):
            chosen.append(name)
        else:
            service.ignore(f"it is of the profile {' or '.join(needed)} only")
    if not chosen:
        raise UsageError(
            f"All services of {notes.file} are of profiles.", do="Name them: profiles=[…]."
        )
    return chosen


def _scaled(
    services: Mapping[str, Service], scale: Mapping[str, int], notes: Notes
) -> dict[str, Service]:
    """The services with as many nodes as `scale` says, or else the file; without those of none."""
    for name, number in scale.items():
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise UsageError(
                f"The service {name} cannot be scaled to {number!r}.",
                do="Give a whole number from 1, or leave it out with only=[…].",
            )
    found = {}
    for name, service in services.items():
        replicas = scale.get(name, service.replicas)
        if replicas:
            found[name] = dataclasses.replace(service, replicas=replicas)
        else:
            notes.ignored[f"services.{name}"] = "it is scaled to nothing"
    return found


def _among(services: Mapping[str, Service], service: Service, notes: Notes) -> Service:
    """`service` without what it has to do with services that are left out."""
    for name in service.depends_on:
        if name not in services:
            notes.ignored[f"services.{service.name}.depends_on.{name}"] = f"{name} is left out"
    return dataclasses.replace(
        service,
        depends_on={
            name: condition for name, condition in service.depends_on.items() if name in services
        },
        links={alias: name for alias, name in service.links.items() if name in services},
    )


def _judge_volumes(declared: Mapping[str, At], services: Mapping[str, Service]) -> None:
    """Note what is said of the named volumes that the services use."""
    used = {volume.name for service in services.values() for volume in service.volumes}
    for name, at in declared.items():
        if name not in used:
            continue
        entries = at.entries()
        new = "every cluster begins with an empty volume of its own"
        keys.judge(
            entries,
            {"driver"},
            {"external": new, "name": new, "labels": "nothing here reads them"},
            {"driver_opts": "volumes are the engine's own"},
        )
        if "driver" in entries and entries["driver"].value not in (None, "local"):
            entries["driver"].refuse("volumes are the engine's own")


def _judge_networks(declared: Mapping[str, At], notes: Notes) -> None:
    """Note that networks make no difference, once, if there is anything that could make one."""
    if len(declared) > 1 or any(at.value for at in declared.values()):
        notes.ignored["networks"] = _ONE_NETWORK


def _name(file: Path) -> str:
    """As compose does: after the folder."""
    folder = file.absolute().parent.name.lower()
    return re.sub(r"[^a-z0-9_-]", "", folder).lstrip("_-") or "compose"
