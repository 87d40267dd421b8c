"""What the faults share that only containers make possible."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar, TypeVarTuple, Unpack

from harness.errors import FaultError, UsageError
from harness.faults._base import NodeFault
from harness.runtime.needs import PREPARED

if TYPE_CHECKING:
    from harness.nemesis import Site
    from harness.runtime.docker.means import Means

HELD_TRIES, HELD_WAIT_S = 3, 0.3
"""How often a fault that seems to be undone is looked at, and after what time."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG]?)i?B?", re.IGNORECASE)
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


@dataclass(frozen=True)
class ContainerFault(NodeFault):
    """Base of the faults that need nodes in containers. `need` says what of them."""

    need: ClassVar[str] = ""

    @property
    def needs(self) -> str | None:
        return self.need

    async def prove_held(self, site: Site) -> None:
        await prove_again(site)

    async def use(self, site: Site, work: Callable[[Means, Unpack[Ts]], T], *args: *Ts) -> T:
        """Have `work` use the runtime's means, with `args`. Raises `MissingPartError` if there
        are none, and `UsageError` if the cluster had to be prepared for it and was not."""
        return await use(site, self.need, work, *args)


async def use(site: Site, need: str, work: Callable[[Means, Unpack[Ts]], T], *args: *Ts) -> T:
    """The same for any fault that needs `need`."""
    runtime = site.cluster.runtime
    if runtime.means is not None and need in PREPARED - runtime.means.prepared:
        raise UsageError(
            f"{site.id} ({site.fault.describe()}): the cluster was not prepared for it.",
            do=f'Declare it: @experiment(…, needs=["{need}"]), so that the nodes are started so.',
        )
    return await runtime.use(lambda means: work(means, *args))


async def prove_again(site: Site) -> None:
    """That the fault is still in force. A node that is just being started gets back what it had,
    so that once proves nothing. Raises `FaultError`."""
    for _ in range(HELD_TRIES - 1):
        try:
            await site.fault.prove(site)
            return
        except FaultError:
            await asyncio.sleep(HELD_WAIT_S)
    try:
        await site.fault.prove(site)
    except FaultError as error:
        raise FaultError(
            f"{site.id} ({site.fault.describe()}) was in force, and was not any more when it was "
            "to be healed: somebody undid it.",
            why=str(error),
            do="Leave the containers of a running experiment alone.",
        ) from None


async def let_go(site: Site, work: Callable[[Means], object]) -> None:
    """Have `work` undo something; where there are no means, nothing was done."""
    if site.cluster.runtime.means is not None:
        await site.cluster.runtime.use(work)


def up(site: Site) -> list[str]:
    """Those of the fault's nodes that run (or are paused): the others have nothing to prove."""
    return [node for node in site.nodes if site.cluster.state(node) != "down"]


def to_bytes(value: int | str, what: str) -> int:
    """A size in bytes: a whole number of them, or `64MB` (K, M and G are powers of 1024). Raises
    `UsageError`, naming the argument `what`."""
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is not None:
        return int(float(found[1]) * _UNITS[found[2].upper()])
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise UsageError(f"{what}: {value!r} is no size.", do='Write "64MB", or a number of bytes.')
