"""What a charge is: made once per idempotency key, whatever fails and however often it is repeated.

    begin the key (durable) ─► provider, by the charge's id ─► finish the key (durable, with the
    notification in the outbox) ─► notify, offer to analytics ─► answer

Whoever dies on the way leaves a record with the charge's id and a lease that runs out; the next
request with the key goes on from there with the same id, by which the provider knows the charge.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .analytics import Analytics
from .background import Background
from .guard import UnavailableError
from .logs import Clock
from .outbox import Outbox
from .services import Services
from .settings import Settings

DEADLINE_S = 0.8
"""For everything that a request asks of dependencies; less than the lease of a key."""

NOTIFY_S = 0.25
"""What a charge that is made already spends on its notification at most; a relay delivers later."""

RETRY_AFTER_S = 1


@dataclass(frozen=True)
class Answer:
    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


class Charges:
    """Of one worker."""

    def __init__(
        self,
        settings: Settings,
        services: Services,
        outbox: Outbox,
        analytics: Analytics,
        background: Background,
        clock: Clock,
        random: random.Random,
    ) -> None:
        self._mutant = settings.mutant
        self._services = services
        self._outbox = outbox
        self._analytics = analytics
        self._background = background
        self._clock = clock
        self._random = random
        self._seen: dict[str, Answer] = {}  # of the mutant `stale-ledger-read` alone

    async def charge(self, key: str, account: str, amount: int) -> Answer:
        """Charge `account` once for `key`."""
        store, provider = self._services.store, self._services.provider
        deadline = self._clock() + DEADLINE_S
        fingerprint = _fingerprint(account, amount)
        owner, charge_id = self._new_id("r"), self._new_id("ch")

        if self._mutant == "effect-before-record":  # Mutant: the provider first, then the record.
            try:
                found = await store.find(key, deadline)
                if found is None or found["state"] != "done":
                    await provider.ask(
                        "/entries", _entry(charge_id, key, amount), deadline=deadline, key=key
                    )
            except UnavailableError as error:
                return _unavailable("provider", error, certain=error.certain)

        try:
            begun = await store.begin(key, fingerprint, charge_id, owner, deadline)
        except UnavailableError as error:
            # A record may have been made, but the provider was not called.
            return _unavailable("store", error, certain=True)
        if self._mutant == "no-idempotency-key":  # Mutant: every request is a charge of its own.
            begun = {"state": "mine", "charge_id": charge_id}
        match begun["state"]:
            case "done":
                body = _body(begun["outcome"], notified=begun["notified"])
                return Answer(200, body, {"Idempotent-Replayed": "true"})
            case "other":
                return Answer(422, {"error": "the key belongs to another payload", "charged": "no"})
            case "busy":
                body = {"error": "a request with this key is being worked on", "charged": "no"}
                return Answer(409, body, _RETRY_LATER)

        charge_id = begun["charge_id"]
        if self._mutant != "effect-before-record":
            try:
                await provider.ask(
                    "/entries", _entry(charge_id, key, amount), deadline=deadline, key=key
                )
            except UnavailableError as error:
                self._background.begin(store.release(key, owner, self._clock() + DEADLINE_S))
                return _unavailable("provider", error, certain=error.certain)

        outcome = {"key": key, "charge_id": charge_id, "account": account, "amount": amount}
        try:
            outcome = dict(await store.finish(key, fingerprint, charge_id, outcome, deadline))
        except UnavailableError as error:
            # Charged, but nobody would know: repeating the request finds out.
            return _unavailable("store", error, certain=False)

        soon = min(deadline, self._clock() + NOTIFY_S)
        notified = await self._outbox.deliver(charge_id, key, amount, soon)
        event = {"account": account, "amount": amount}
        if self._mutant == "waits-for-analytics":  # Mutant: as if its answer mattered.
            await self._analytics.insist(event)
            recorded = True
        else:
            recorded = self._analytics.offer(event)
        body = _body(outcome, notified=notified)
        return Answer(201, {**body, "analytics": "recorded" if recorded else "dropped"})

    async def find(self, key: str) -> Answer:
        """The charge of `key`, if one was made."""
        if self._mutant == "stale-ledger-read" and key in self._seen:
            return self._seen[key]
        try:
            found = await self._services.store.find(key, self._clock() + DEADLINE_S)
        except UnavailableError as error:
            return _unavailable("store", error, certain=True)
        if found is not None and found["state"] == "done":
            answer = Answer(200, _body(found["outcome"], notified=found["notified"]))
        else:
            answer = Answer(404, {"state": "unknown" if found is None else "in progress"})
        if self._mutant == "stale-ledger-read":  # Mutant: a cache that nobody invalidates.
            self._seen[key] = answer
        return answer

    def _new_id(self, kind: str) -> str:
        return f"{kind}-{self._random.getrandbits(96):024x}"


_RETRY_LATER = {"Retry-After": str(RETRY_AFTER_S)}


def _entry(charge_id: str, key: str, amount: int) -> dict[str, Any]:
    return {"id": charge_id, "key": key, "amount": amount}


def _body(outcome: Mapping[str, Any], *, notified: bool) -> dict[str, Any]:
    return {**outcome, "notification": "sent" if notified else "deferred", "charged": "yes"}


def _unavailable(degraded: str, error: UnavailableError, *, certain: bool) -> Answer:
    body = {
        "error": str(error),
        "degraded": degraded,
        "charged": "no" if certain else "unknown",
    }
    return Answer(503, body, _RETRY_LATER)


def _fingerprint(account: str, amount: int) -> str:
    payload = json.dumps([account, amount]).encode()
    return hashlib.blake2b(payload, digest_size=16).hexdigest()
