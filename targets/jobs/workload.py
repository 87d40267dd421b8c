"""Jobs of all kinds with keys of their own, repeated on other nodes; and accounts that are changed,
deleted, restored and looked for by everybody."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from hashlib import blake2b

from harness import Request, Workload, seconds
from harness.workload import SEEN, Observed
from targets.jobs.app.settings import POSTGRES_HOST
from targets.jobs.client import JobsClient

FINAL = tuple(
    Request(f, at=POSTGRES_HOST)
    for f in ("unfinished", "effects", "runs", "letters", "audit", "tamper")
)
"""In this order: the ledgers are final once nothing is left to be done."""

RECENT = 24
"""How many numbers back a key is repeated."""

ACCOUNTS = 8
"""So few that several clients often mean the same one."""

DOOMED = 99
"""How often a job fails that nobody lets try so often."""

WAIT_S = 4.0
"""How long a request waits for its job to be finished."""

QUEUES = (*("emails",) * 6, *("images",) * 2, "sync")
"""As they are drawn from: about in the proportion of their limits."""

PACE = 3
"""How many operations a second a client of the busy workload begins at most."""

LOOKS = ("get", "listed", "found", "counted")
CHANGES = ("create", "rename", "delete", "delete", "restore", "restore")


def jobs_workload(
    *,
    clients: int = 8,
    rate: float | None = 60,
    work_ms: int = 40,
    accounts: float = 0.4,
    replays: float = 0.4,
    queues: tuple[str, ...] = QUEUES,
) -> Workload:
    """`clients` send together `rate` operations per second. The share `accounts` of them is about
    accounts: half of it changes one, half looks for one, on all paths there are. The others are
    jobs of some `work_ms` milliseconds, in one of the `queues`: most are done, some only when they
    have failed once or twice, some never; of some only one may be unfinished; some begin later. The
    share `replays` of these is a recent key again, the client's own or another one's."""

    def requests(random: random.Random, client: int, observed: Observed) -> Iterator[Request]:
        number = 0
        while True:
            # Whatever was answered, the same numbers are drawn: what follows stays the same.
            what, again, share = random.random(), random.random(), random.random()
            whose, back = random.randrange(clients), random.randrange(RECENT)
            account = f"account-{random.randrange(ACCOUNTS):02}"
            look, change = random.choice(LOOKS), random.choice(CHANGES)
            number += 1
            if what < accounts:
                if share < 0.5:
                    yield Request(look, account, (SEEN,) if look == "found" else ())
                else:
                    yield Request(change, account, (f"r{client}-{number}",))
                    if change == "delete":
                        # The answer tells the name: by it the account must not be found any more.
                        yield Request("found", account, (SEEN,))
            elif again < replays and (earlier := number - back) > 0:
                key = _key(whose, earlier)
                yield Request("state", key) if share < 0.3 else _job(key, work_ms, queues)
            else:
                yield _job(_key(client, number), work_ms, queues)

    return Workload(
        name="jobs",
        client=JobsClient,
        requests=requests,
        final=FINAL,
        clients=clients,
        rate=rate,
        op_timeout=seconds(2),
        options={"work_ms": work_ms, "accounts": accounts, "replays": replays},
    )


def busy_workload(
    *, working: int = 10, waiting: int = 180, work_ms: int = 800, run_in_s: float = 4.0
) -> Workload:
    """Much is in flight all the time: `working` clients each send `PACE` jobs of `work_ms`
    milliseconds a second, and `waiting` others a short one that begins in `run_in_s`, and wait for
    it: four in five of these have a request in flight at any moment."""

    def requests(random: random.Random, client: int, observed: Observed) -> Iterator[Request]:
        for number in itertools.count():
            key, queue = _key(client, number), ("images" if random.random() < 0.25 else "emails")
            if client < working:
                yield Request("enqueue", key, (queue, {"work_ms": work_ms}))
            else:
                yield Request("enqueue", key, (queue, {"work_ms": 5}, run_in_s))
                for _ in range(math.ceil(run_in_s / WAIT_S)):
                    yield Request("wait", key, (WAIT_S,))

    clients = working + waiting
    return Workload(
        name="busy-jobs",
        client=JobsClient,
        requests=requests,
        final=FINAL,
        clients=clients,
        # Paced: in a closed loop, those whose node is gone would starve all others.
        rate=PACE * clients,
        op_timeout=seconds(WAIT_S + 3),
        options={"work_ms": work_ms},
    )


def _key(client: int, number: int) -> str:
    return f"j{client}-{number}"


def _job(key: str, work_ms: int, queues: tuple[str, ...]) -> Request:
    """The same job for the same key, whoever sends it."""
    drawn = random.Random(blake2b(key.encode(), digest_size=8).digest())
    kind = drawn.random()
    queue = drawn.choice(queues)
    work = {"work_ms": round(work_ms * (0.5 + drawn.random()))}
    if kind < 0.06:
        return Request("doom", key, (queue, {**work, "fails": DOOMED}))
    if kind < 0.18:
        text = f"text-{drawn.randrange(2)}"
        return Request("claim", key, (queue, text, work, round(0.5 + drawn.random() * 0.5, 3)))
    if kind < 0.32:
        return Request("enqueue", key, (queue, {**work, "fails": drawn.randint(1, 2)}))
    if kind < 0.40:
        return Request("enqueue", key, (queue, work, round(drawn.random() * 0.5, 3)))
    return Request("enqueue", key, (queue, work))
