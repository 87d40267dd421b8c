"""Tenant isolation: no answer holds another tenant's data."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from harness.check._findings import Findings, brief, judge, told_op
from harness.check._text import many
from harness.check.verdict import Verdict
from harness.errors import UsageError
from harness.history import History, hashable

Tag: TypeAlias = str | Callable[[Any], Hashable]


@dataclass(frozen=True)
class TenantIsolation:
    """The check that `tenant_isolation` makes."""

    tag: Tag
    name: str = "tenant_isolation"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        found = Findings("leak")
        items = untagged = answers = 0
        owners: set[Hashable] = set()
        for op in history.ops:
            if op.outcome != "ok" or op.key is None:
                continue
            tenant: Hashable = hashable(op.key)
            answers += 1
            for item in op.result if isinstance(op.result, list | tuple) else [op.result]:
                owner = self._owner(item)
                if owner is None:
                    untagged += 1
                    continue
                items += 1
                owners.add(tenant)
                if owner != tenant:
                    what = told_op(op, f"answered {tenant!r} with {brief(item)}")
                    found.add("leak", f"{what}, which belongs to {owner!r}", op)
        unknown = None
        if not items:
            unknown = (
                f"Nothing was tested: no answer holds an item with {self._tag_told} (expected: "
                "ops with the tenant as the key, that answer with an item or a list of them)."
            )
        elif len(owners) < 2:
            unknown = "Nothing was tested: only one tenant was ever answered with data."
        told = (
            f"{many(answers, 'answer')} to {many(len(owners), 'tenant')}, {many(items, 'item')}, "
            f"{untagged} without a tenant"
        )
        return judge(
            self.name,
            began,
            found,
            ops=len(history),
            told=told,
            unknown=unknown,
            data={"answers": answers, "items": items, "untagged": untagged, "tenants": len(owners)},
        )

    @property
    def _tag_told(self) -> str:
        return f"a field {self.tag!r}" if isinstance(self.tag, str) else "a tenant"

    def _owner(self, item: Any) -> Hashable:
        if isinstance(self.tag, str):
            told = item.get(self.tag) if isinstance(item, Mapping) else None
        else:
            told = self.tag(item)
        owner: Hashable = hashable(told)
        return owner


def tenant_isolation(tag: Tag = "tenant") -> TenantIsolation:
    """Check that no answer to a tenant holds what belongs to another one.

    Ops: of any name, with the tenant who asks as the key, that answer with an item or a list of
    items. `tag` is the field of an item that names its tenant, or a function from an item to its
    tenant (None: it belongs to nobody, and is counted). The function must not raise.

    Anomaly: `leak`. `unknown`: no item names a tenant, or only one tenant was ever answered with
    data. O(n) in the sizes of the answers. Raises `UsageError` for a wrong tag.

    Example: list of tenant "a" answers [{"id": 1, "tenant": "b"}]: `invalid`.
    """
    if not callable(tag) and not (isinstance(tag, str) and tag):
        raise UsageError(
            f"tag must be a field's name or a function, not {tag!r}.", do='Write e.g. tag="tenant".'
        )
    return TenantIsolation(tag)
