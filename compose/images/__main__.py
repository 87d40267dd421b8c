"""Make the images of all targets of this project: `PYTHONPATH=. python compose/images`."""

from __future__ import annotations

import sys

from harness import Image, Target
from harness.catalogue import known_targets
from harness.errors import HarnessError, MissingPartError
from harness.runtime.docker.engine import connect
from harness.runtime.docker.images import ensure, toxiproxy_image


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def images_of(target: Target) -> list[Image]:
    """What the nodes and dependencies of the target run in, each once."""
    images: list[Image] = []
    for name in target.all_names:
        container = target.container(name)
        if container is not None and container.image not in images:
            images.append(container.image)
    return images


def main() -> int:
    """0 as well where there is no engine: nobody can use images there."""
    try:
        engine = connect()
    except MissingPartError as error:
        tell(f"No images are made: {error.what}")
        return 0
    try:
        tell(toxiproxy_image(engine, tell))
        for target in known_targets().values():
            for image in images_of(target()):
                tell(ensure(engine, image, tell))
    except HarnessError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
