"""How the budget of an approximate limit is divided among the members.

Every member has a share of its own that it may always use. What members leave of their shares is
lent to those that ask for more, evenly, and up to `burst` times the borrower's share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def shares(limit: int, members: Sequence[str]) -> dict[str, int]:
    """What each member may always admit. Sums up to `limit`; the first ones get what is over."""
    each, over = divmod(limit, len(members))
    return {name: each + (place < over) for place, name in enumerate(sorted(members))}


def caps(limit: int, members: Sequence[str], burst: float) -> dict[str, int]:
    """What each member never exceeds, whatever it believes of the others."""
    return {
        name: min(limit, max(1, math.floor(share * burst + 1e-9)))
        for name, share in shares(limit, members).items()
    }


def error_bound(limit: int, nodes: int, burst: float = 1.5) -> float:
    """The share by which all nodes together may exceed an approximate limit, at worst.

    With s = limit / nodes, the share of a node, and cap = min(limit, max(1, floor(burst × s))):

        error = (sum of the nodes' caps) / limit - 1,   at most burst - 1 if limit ≥ nodes

    It holds in every window, whatever becomes of the network: each node counts its own admissions
    exactly and keeps below its cap, so nothing that it believes of the others matters. A node that
    was restarted admits nothing for one window, so that its former start's cap is not spent twice.
    How often nodes exchange what they need (`sync_s`) is no part of it; it says for how long the
    limit may be exceeded at all, see `unsettled_s`.
    """
    members = [f"{place:09}" for place in range(nodes)]
    return sum(caps(limit, members, burst).values()) / limit - 1


def unsettled_s(per_s: float, sync_s: float, delay_s: float = 0.0) -> float:
    """For how long the error may be above zero after demand, or who hears whom, changed for good.

        3.5 × sync_s + delay_s + per_s

    Up to 1.1 sync_s pass until a lender says that it needs its share, or up to 2.4 until it is
    taken for silent; up to 1.1 more until the borrower divides anew, and one window until what it
    had borrowed has left the window. From then on the nodes of each side of a netsplit use no more
    than their own shares, and all sides together no more than the limit.
    """
    return 3.5 * sync_s + delay_s + per_s


def divide(
    limit: int, members: Sequence[str], burst: float, claims: Mapping[str, float | None]
) -> dict[str, float]:
    """What each member may admit in a window, given what each would use (None: not known).

    A member of which nothing is known is taken to use its share: it may be cut off and admitting.
    What the others leave is divided by max-min fairness (Bertsekas, Gallager, "Data networks",
    second edition, 1992, section 6.5.2): nobody gets more than it asks for, and nobody could have
    more without somebody who has less getting still less.
    """
    own = shares(limit, members)
    most = caps(limit, members, burst)
    claimed = {
        name: float(own[name]) if (claim := claims.get(name)) is None else claim for name in own
    }
    spare = sum(max(0.0, own[name] - claimed[name]) for name in own)
    given = {name: float(share) for name, share in own.items()}
    asking = {
        name: min(claimed[name], most[name]) - own[name]
        for name in own
        if min(claimed[name], most[name]) > own[name]
    }
    for place, (name, wanted) in enumerate(sorted(asking.items(), key=lambda item: item[::-1])):
        more = min(wanted, spare / (len(asking) - place))
        given[name] += more
        spare -= more
    return given
