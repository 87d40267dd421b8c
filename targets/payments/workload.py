"""Charges with unique keys, repeated on other nodes, and questions about them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from hashlib import blake2b

from harness import Request, Workload, milliseconds
from harness.workload import Observed
from targets.payments.client import PaymentsClient

RECENT = 20
"""How many numbers back a key is repeated: at 10 operations per client and second some 4 seconds,
far within the retry horizon."""

AHEAD = 2
"""How far ahead of its own number a client looks: at keys that others may be charging just now."""

STATUS_SHARE = 0.4
WATCHED_SHARE = 0.2

FINAL = (
    Request("undelivered", at="store"),
    Request("effects", at="provider"),
    Request("notified", at="notifications"),
    Request("keys", at="store"),
)
"""In this order: the ledgers are final once nothing is left to be delivered."""


def payments_workload(
    *, clients: int = 6, rate: float | None = 60, replays: float = 0.5
) -> Workload:
    """`clients` issue keys `k<client>-<n>`, together `rate` operations per second. The share
    `replays` of the operations is about recent keys, the client's own or another one's: most repeat
    the charge, and first of all one that was not acknowledged to this client yet, as a user would;
    the others ask for a status. Some new charges are watched: their status is asked before and
    after."""

    def requests(random: random.Random, client: int, observed: Observed) -> Iterator[Request]:
        number = 0
        yield _charge(client, number)
        while True:
            # Whatever was answered, the same numbers are drawn: what follows stays the same.
            new, what = random.random() >= replays, random.random()
            whose, back, own = random.randrange(clients), _some(random), random.random() < 0.5
            near = _a_few(random)
            if new:
                number += 1
                charge = _charge(client, number)
                watching = [Request("status", charge.key)] if what < WATCHED_SHARE else []
                yield from (*watching, charge, *watching)
            elif what < STATUS_SHARE:
                yield Request("status", _key(whose, max(0, number + AHEAD - near)))
            else:
                lost = _unacknowledged(client, number, observed) if own else None
                yield lost or _charge(whose, max(0, number - back))

    return Workload(
        name="payments",
        client=PaymentsClient,
        requests=requests,
        final=FINAL,
        clients=clients,
        rate=rate,
        op_timeout=milliseconds(1500),
        options={"replays": replays},
    )


def _unacknowledged(client: int, number: int, observed: Observed) -> Request | None:
    """The oldest recent charge of the client of which it does not know that it was made."""
    for recent in range(max(0, number - RECENT), number + 1):
        if observed.get(_key(client, recent)) is None:
            return _charge(client, recent)
    return None


def _a_few(random: random.Random) -> int:
    """So near that what is asked for is often just being done."""
    return min(RECENT, int(random.expovariate(0.3)))


def _some(random: random.Random) -> int:
    """As often so far back that much has happened since."""
    return _a_few(random) if random.random() < 0.5 else random.randrange(RECENT + 1)


def _key(client: int, number: int) -> str:
    return f"k{client}-{number}"


def _charge(client: int, number: int) -> Request:
    """The same payload for the same key, whoever sends it."""
    key = _key(client, number)
    amount = 1 + int.from_bytes(blake2b(key.encode(), digest_size=2).digest(), "big") % 10_000
    return Request("charge", key, (f"account-{client}", amount))
