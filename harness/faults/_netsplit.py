"""netsplit: nodes cannot talk to each other. The shapes carry the names of the field."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from harness.errors import FaultError, UsageError
from harness.faults._base import Fault, Members, Proof, Who, resolve_who
from harness.faults._containers import let_go, prove_again
from harness.faults._links import prove_no_strays, prove_state
from harness.faults._packets import cut, prove_cut, prove_uncut
from harness.faults._probing import SILENCE_S, ask, prove_free, sound_open
from harness.network import netsplit as shapes
from harness.runtime.needs import PACKETS

if TYPE_CHECKING:
    from harness.nemesis import Site

SHAPES = (
    "isolate",
    "halves",
    "random-halves",
    "majorities-ring",
    "bridge",
    "minority-third",
    "one-way",
    "groups",
    "links",
)

Cut = tuple[str, str]


@dataclass(frozen=True)
class Netsplit(Fault):
    """Cut the links between nodes.

    `shape` is one of: `isolate` (`who` from all others), `halves` (the first from the last nodes),
    `random-halves`, `majorities-ring` (every node sees a majority, no two the same one), `bridge`
    (two halves that share one node), `minority-third` (a random third from the rest), `one-way`
    (`who` hears everybody, nobody hears `who`), `groups` (an explicit list), `links` (directed
    pairs: bytes from the first to the second are lost).

    `how="drop"` loses the bytes: connections stay open and nothing arrives, until they are closed
    on healing. `how="reject"` resets connections and refuses new ones. `how="packets"` (in
    containers) drops all packets between the sides in their own networks, whether they go through
    links or past them; connections live on when it is healed. It knows no directions. Nodes that
    are killed and started again meanwhile come back cut off. Clients are never cut off,
    unless `links` names `client`.

    What is random in a shape is drawn beforehand and stands in the plan as `cuts`. A role in `who`
    is looked up at injection.
    """

    kind: ClassVar[str] = "netsplit"

    shape: str = "isolate"
    who: Who = field(default="random", kw_only=True)
    groups: Sequence[Sequence[str]] | None = field(default=None, kw_only=True)
    links: Sequence[Cut] | None = field(default=None, kw_only=True)
    how: Literal["drop", "reject", "packets"] = field(default="drop", kw_only=True)
    cuts: Sequence[Cut] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shape not in SHAPES:
            raise UsageError(
                f"faults.netsplit: there is no shape {self.shape!r}.",
                do=f"Shapes: {', '.join(SHAPES)}.",
            )
        if self.how not in ("drop", "reject", "packets"):
            raise UsageError(
                f"faults.netsplit: how={self.how!r}.", do="Give drop, reject or packets."
            )
        if self.how == "packets" and self.shape in ("one-way", "links"):
            raise UsageError(
                f'faults.netsplit: {self.shape} with how="packets" cannot be: packets are dropped '
                "in both directions, or no connection would notice.",
                do='Use how="drop", or a shape that goes both ways.',
            )
        for name, value in (("groups", self.groups), ("links", self.links)):
            if (self.shape == name) != (value is not None):
                raise UsageError(
                    f"faults.netsplit: the shape {self.shape!r} and {name}={value!r} "
                    "do not go together.",
                    do=f'Write netsplit("{name}", {name}=…) with the shape named {name}.',
                )

    @property
    def needs(self) -> str | None:
        return PACKETS if self.how == "packets" else None

    def resolve(self, rng: random.Random, members: Members, lasting_s: float) -> Self:
        # Partitions go through the whole cluster: a node loses its database as well as its peers.
        nodes = [*members.nodes, *members.dependencies]
        if self.shape in ("isolate", "one-way"):
            who = resolve_who(self.who, rng, members, self.kind)
            # A role cannot become cuts before it is known who holds it.
            cuts = None if who in members.roles else _around(self.shape, _names(who), nodes)
            return dataclasses.replace(self, who=who, cuts=cuts)
        drawn = {
            "halves": lambda: shapes.halves(nodes),
            "random-halves": lambda: shapes.random_halves(nodes, rng),
            "majorities-ring": lambda: shapes.majorities_ring(nodes, rng),
            "bridge": lambda: shapes.bridge(nodes, rng),
            "minority-third": lambda: shapes.minority_third(nodes, rng),
            "groups": lambda: shapes.groups(
                [members.expanded(group) for group in self.groups or ()], nodes
            ),
            "links": lambda: shapes.directed(_pairs(self.links or (), members), nodes),
        }[self.shape]()
        return dataclasses.replace(self, cuts=sorted(drawn))

    async def inject(self, site: Site) -> None:
        if self.shape in ("isolate", "one-way"):
            chosen = await site.resolve(self.who)
            cuts = self.cuts or _around(self.shape, chosen, list(site.cluster.all_names))
        else:
            cuts = self.cuts or ()
            site.nodes = tuple(sorted({node for cut in cuts for node in cut} - {"client"}))
        site.note(cuts=[list(cut) for cut in cuts])
        pairs = frozenset((source, node) for source, node in cuts)
        if self.how == "packets":
            # Nodes on both sides are concerned: in the networks of all of them there are rules.
            site.nodes = tuple(sorted({node for pair in pairs for node in pair}))
            await cut(site, {(one, other) for one, other in pairs if one < other})
            return
        await site.hold(shapes.effects(pairs, site.cluster.network.links(), self.how))

    async def prove(self, site: Site) -> Proof:
        if self.how == "packets":
            return await prove_cut(site)
        await prove_no_strays(site)
        await prove_state(site)
        answers = await ask(site, site.links, SILENCE_S)
        for link, said in answers.items():
            if said.kind == "answered":
                raise FaultError(f"{site.id}: {link.name} is cut, but a probe was answered.")
        kinds = sorted({said.kind for said in answers.values()})
        by = "probe" if answers else "toxiproxy"
        return {"by": by, "links": len(site.links), "probed": len(answers), "saw": kinds}

    async def prove_held(self, site: Site) -> None:
        if self.how == "packets":
            await prove_again(site)

    async def heal(self, site: Site) -> None:
        await let_go(site, lambda means: means.packets.release(site.id))
        await site.cluster.network.release(site.id)

    async def prove_healed(self, site: Site) -> Proof:
        if self.how == "packets":
            return await prove_uncut(site)
        await prove_state(site)
        answered = await prove_free(site, site.links, sound_open)
        return {"by": "probe" if answered else "toxiproxy", "answered": answered}

    def describe(self) -> str:
        who = self.who if isinstance(self.who, str) else ", ".join(self.who)
        concerned = f" {who}" if self.shape in ("isolate", "one-way") else ""
        how = "" if self.how == "drop" else f" ({self.how})"
        return f"netsplit {self.shape}{concerned}{how}"


def _pairs(links: Sequence[Cut], members: Members) -> list[Cut]:
    """Each pair of nodes that a pair of names means."""
    return [
        (source, node)
        for pair in links
        for source in members.expanded(pair[:1])
        for node in members.expanded(pair[1:])
        if source != node
    ]


def _names(who: Who) -> Sequence[str]:
    return (who,) if isinstance(who, str) else who


def _around(shape: str, chosen: Sequence[str], nodes: list[str]) -> list[Cut]:
    others = [node for node in nodes if node not in chosen]
    if not others:
        raise UsageError(
            f"faults.netsplit: {shape} of {', '.join(chosen)} leaves nobody on the other side.",
            do="Name fewer nodes.",
        )
    if shape == "isolate":
        return sorted(shapes.groups([list(chosen), others], nodes))
    return sorted(shapes.one_way(chosen, others))
