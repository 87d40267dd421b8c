"""Images, ready to run: used where they are there, else pulled, else built from our base."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.container import Image
from harness.errors import MissingPartError, UsageError
from harness.parts import TOXIPROXY, find, toxiproxy_binary
from harness.runtime.docker.base import FOLDER, PYTHON, base_image, base_tag
from harness.runtime.docker.build import Build, Entry, Tell, build, find_image, tree
from harness.runtime.docker.dockerfile import require_ours, starting_images
from harness.runtime.docker.engine import Engine
from harness.runtime.docker.pull import pull
from harness.runtime.docker.wheels import site, site_key

_NO_NETWORK = "none"


def ensure(engine: Engine, image: Image, tell: Tell) -> str:
    """The name of a local image that `image` describes, made if it is missing or stale.

    `tell` hears of whatever takes longer than a moment. Raises `MissingPartError` if it cannot be
    had here, `BrokenError` if its build failed and `UsageError` if what it is made from is not
    there.
    """
    if image.build is not None:
        build = image.build
        return ensure_built(
            engine,
            build.context.name,
            build.context,
            tell,
            dockerfile=build.dockerfile,
            args=build.args,
            target=build.target,
        )
    if image.stock is None:
        return _built(engine, image, tell)
    if find_image(engine, image.stock):
        return image.stock
    own = replace(image, stock=None)
    if not _has_fallback(image):
        problem = pull(engine, image.stock, tell)
        if problem is None:
            return image.stock
        raise MissingPartError(
            f"The image {image.stock} is not to be had here.",
            why=problem,
            do=f"Load it (`docker load`, `docker pull {image.stock}`), or give a fallback: an "
            "Image with a folder or packages to build it from.",
        )
    # What was built once will do: a registry that does not answer takes seconds to say nothing.
    if find_image(engine, base_tag(engine, image.packages)):
        wanted = _plan(engine, own, base_tag(engine, image.packages), tell)
        if find_image(engine, wanted.tag):
            tell(f"{wanted.tag} runs in the place of {image.stock}, which is not here")
            return wanted.tag
    if pull(engine, image.stock, tell) is None:
        return image.stock
    tag = _built(engine, own, tell)
    tell(f"{tag} runs in the place of {image.stock}, which cannot be pulled")
    return tag


def ensure_built(
    engine: Engine,
    name: str,
    context: Path,
    tell: Tell,
    *,
    dockerfile: str = "Dockerfile",
    args: Mapping[str, str] | None = None,
    target: str | None = None,
) -> str:
    """The name of an image built from a folder as `docker build` would: with its own `FROM`, which
    the engine may have to pull, and the network. Raises as `ensure` does."""
    folder = context.absolute()
    if not (folder / dockerfile).is_file():
        raise UsageError(
            f"There is no {dockerfile} in {context}.", do="Correct the build's folder."
        )
    text = (folder / dockerfile).read_text("utf-8")
    for start in starting_images(text, args or {}):
        problem = None if find_image(engine, start) else pull(engine, start, tell)
        if problem is not None:
            raise MissingPartError(
                f"The image {start}, which {context / dockerfile} starts from, is not to be had "
                "here.",
                why=problem,
                do=f"Load it (`docker load`, `docker pull {start}`), or put another image in the "
                "place of the one that is built: of a compose file with "
                "compose_target(…, images={service: Image(…)}).",
            )
    wanted = Build(
        name=_plain(name),
        source=(str(folder), dockerfile, target or ""),
        entries=_contents(folder),
        args=args or {},
        base_id="",
        dockerfile=dockerfile,
        target=target,
    )
    return build(engine, wanted, tell)


def toxiproxy_image(engine: Engine, tell: Tell) -> str:
    """Toxiproxy in our base, for a container with the capabilities NET_ADMIN, SETUID, SETGID and
    SETPCAP, and a variable LINKS: a network each of whose addresses it holds. Raises as `ensure`
    does, and `MissingPartError` without a Toxiproxy."""
    toxiproxy_binary()  # fetched if there is none
    return _built(engine, Image(FOLDER / "toxiproxy", parts=(TOXIPROXY,)), tell)


def tools_image(engine: Engine, tell: Tell) -> str:
    """What helpers of the harness run in: iptables, ip, ss, setpriv, nc, Python. Its user is root.
    Raises as `ensure` does."""
    return base_image(engine, tell)


def _has_fallback(image: Image) -> bool:
    return bool(image.folder or image.packages or image.parts or image.copies or image.requirements)


def _built(engine: Engine, image: Image, tell: Tell) -> str:
    base = base_image(engine, tell, image.packages)
    return build(engine, _plan(engine, image, base, tell), tell)


def _plan(engine: Engine, image: Image, base: str, tell: Tell) -> Build:
    """What an image without a stock one is built from; `base` is there."""
    machine = engine.facts.machine
    folder = FOLDER / "plain" if image.folder is None else Path(image.folder).absolute()
    if not (folder / "Dockerfile").is_file():
        raise UsageError(
            f"There is no Dockerfile in {image.folder}.",
            do="Correct the folder of the image; it is relative to where pytest was called.",
        )
    if image.folder is not None:
        require_ours(folder, image)

    def packages(scratch: Path) -> Sequence[Entry]:
        return [*tree(site(image.requirements, machine, PYTHON, tell), "site"), _note("site")]

    return Build(
        name=_name(image, folder),
        source=(str(folder), *map(str, image.copies), *image.requirements, *image.packages),
        entries=[*_contents(folder), *_files(engine, image)],
        args={"BASE": base},
        base_id=find_image(engine, base) or "",
        more=(site_key(image.requirements, machine, PYTHON),),
        late=packages,
        network=_NO_NETWORK if image.folder is None else None,
    )


def _name(image: Image, folder: Path) -> str:
    if image.folder is not None:
        return _plain(folder.name)
    names = [Path(there).stem for there in image.copies.values()]
    names += [part.executable for part in image.parts] + list(image.packages)
    return _plain(names[0]) if names else "plain"


def _plain(name: str) -> str:
    """As a repository may be called."""
    kept = "".join(
        letter if letter.isalnum() else "-" for letter in name.lower() if letter.isascii()
    )
    return kept.strip("-") or "image"


def _contents(folder: Path) -> list[Entry]:
    """All that is in the folder of a Dockerfile, at the top of the context."""
    ignored = folder / ".dockerignore"
    patterns = ignored.read_text("utf-8").splitlines() if ignored.is_file() else []
    found = tree(
        folder, ".", ignore=[line.strip() for line in patterns if line.strip() and line[0] != "#"]
    )
    return [Entry(entry.name[2:], entry.path) for entry in found if entry.name != "."]


def _files(engine: Engine, image: Image) -> list[Entry]:
    """`files/`: what is copied from this machine."""
    note = _note("files/usr/local/share")
    entries = {note.name: note, "files": Entry("files", FOLDER)}  # of a folder, its name counts
    if image.parts and platform.machine() != engine.facts.machine:
        names = ", ".join(part.name for part in image.parts)
        raise MissingPartError(
            f"{names} of this machine cannot run on the engine's.",
            why=f"It is {engine.facts.machine}, and this one is {platform.machine()}.",
            do="Use an engine of the same architecture.",
        )
    programs = {find(part).path: f"/usr/local/bin/{part.executable}" for part in image.parts}
    _add_parents(entries, note.name)
    for here, there in (*image.paths.items(), *programs.items()):
        for entry in tree(here, f"files{there}"):
            entries[entry.name] = entry
            _add_parents(entries, entry.name)
    return list(entries.values())


def _add_parents(entries: dict[str, Entry], name: str) -> None:
    for parent in Path(name).parents:
        if parent.name:
            entries.setdefault(parent.as_posix(), Entry(parent.as_posix(), FOLDER))


def _note(folder: str) -> Entry:
    """A file, so that no `COPY` copies nothing: Docker's builder fails ("layer does not exist")
    when two steps in a row change nothing."""
    return Entry(f"{folder}/harness.txt", FOLDER / "harness.txt")
