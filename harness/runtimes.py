"""The runtimes by name: where the nodes of a target run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from harness.errors import MissingPartError
from harness.runtime import NodeExit, Runtime
from harness.target import Target


async def create_runtime(
    name: str,
    target: Target,
    *,
    logs: Path,
    run_id: str,
    on_exit: Callable[[NodeExit], None] | None = None,
    tell: Callable[[str], object] = lambda _: None,
    needs: Collection[str] = (),
) -> Runtime:
    """The runtime `name` with room for the nodes of `target`; nothing runs yet.

    `on_exit` is called in the event loop for each node that was up and ended without being asked
    to; `tell` hears what takes long (images that are made). `needs` are words of
    `harness.runtime.needs` for which nodes have to be prepared. Raises `MissingPartError` if the
    machine, or the target, has not what the runtime needs.
    """
    names = (*target.all_names, *target.tasks)
    if name == "process":
        if target.in_containers_only:
            raise MissingPartError(
                f"Target {target.name} runs in containers only.",
                do="Use --chaos-runtime docker.",
            )
        from harness.runtime.process import ProcessRuntime

        return await ProcessRuntime.create(names, logs=logs, run_id=run_id, on_exit=on_exit)
    from harness.runtime.docker.runtime import DockerRuntime

    containers = {node: target.container(node) for node in names}
    without: Sequence[str] = [node for node, found in containers.items() if found is None]
    if without:
        raise MissingPartError(
            f"Target {type(target).__name__} does not run in containers.",
            why=f"It names no image for {', '.join(without)}.",
            do='Give the class an `image = Image("folder with a Dockerfile")`, or use '
            "--chaos-runtime process.",
        )
    return await DockerRuntime.create(
        {node: found for node, found in containers.items() if found is not None},
        logs=logs,
        run_id=run_id,
        on_exit=on_exit,
        tell=tell,
        needs=needs,
    )
