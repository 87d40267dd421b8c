"""Transactional isolation: which anomalies a history of transactions shows, and what they rule out.

The method is Elle's (Kingsbury and Alvaro, Elle: Inferring Isolation Anomalies from Experimental
Observations, VLDB 2020): infer from the values who must have come before whom, and look for cycles.
`list_append` judges transactions over lists, `rw_register` over registers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from harness.units import Duration

if TYPE_CHECKING:
    from harness.check.isolation.check import Isolation

__all__ = ["list_append", "rw_register"]

_UNSET: Any = object()


def list_append(
    consistency_model: str | Iterable[str] | None = "strict-serializable",
    *,
    anomalies: Iterable[str] = (),
    transaction_order: Mapping[int, float] | None = None,
    timeout: Duration = 30,
    memory: int | None = None,
) -> Isolation:
    """Check that transactions which append to lists and read them satisfy a consistency model.

    An op's value is a list of micro-ops `["append", key, element]` and `["r", key, elements]`; ok
    ops tell in their result what they read. Each element is appended once only to its key. Lists
    are empty at first; elements that nobody appended are tolerated where a history plainly begins
    in the middle: all reads of the key begin with them, the key was read before it was appended
    to, and no read found any key empty.

    `consistency_model` is a name, several, or None for only the kinds of `anomalies`, which are
    looked for besides. `transaction_order` maps ops, by the index of their invocation or
    completion, to ranks that are known from elsewhere, such as commit timestamps: lower ranks
    precede higher ones.

    Definition: the longest read of a key is the order of its versions, and so who wrote the version
    before (ww), wrote what was read (wr), or read what was replaced (rw) precedes. Models exclude
    cycles of certain of these, and other anomalies (Adya, Weak Consistency, 1999; Cerone and
    Gotsman, Analysing Snapshot Isolation, 2016). -process and -realtime variants count who came
    before in a process or in real time; of histories that know none (`realtime` is False), strict
    models ask no more than others. `info` transactions count as committed where they were
    seen. All kinds of cycles are decided exactly, none by sampling.

    Source: Kingsbury and Alvaro, Elle, VLDB 2020, section 4. Beyond Elle, phantom reads count, and
    parallel snapshot isolation excludes G-single.

    Complexity: O(n log n + total length of reads) where nothing is wrong: 1 000 000 transactions of
    3 micro-ops in 10 s. Where very many transactions are in one knot of cycles, deciding G-single
    costs more, at worst their number squared over 2048.

    `data["anomalies"]` holds the kinds that the model excludes, `data["not"]` the weakest models
    that all that was found rules out, `data["also_not"]` what follows, `data["ops"]`
    and `data["edges"]` the shortest cycle or the first case of the gravest kind.

    `unknown`: no transaction depends on another (`empty-transaction-graph`), the history is none
    of such transactions, or `timeout` or `memory` (bytes by which the process may grow) was passed
    before an excluded anomaly was found. Raises `UsageError` for wrong arguments.

    Example: of two transactions that both read `x` as empty and both append to it, one update may
    be lost::

        verdict = list_append("snapshot-isolation")(history)
        verdict.result     # "invalid"
        verdict.anomaly    # "lost-update"
        verdict.summary    # "lost-update rules out cursor-stability and update-atomic: T1 and T2
                           #  both read 'x' = [] and both appended to it."
    """
    from harness.check.isolation.inference import ListInference
    from harness.check.isolation.options import make

    return make(
        "list-append",
        ListInference(),
        consistency_model,
        anomalies,
        transaction_order,
        timeout,
        memory,
    )


def rw_register(
    consistency_model: str | Iterable[str] | None = "strict-serializable",
    *,
    anomalies: Iterable[str] = (),
    sequential_keys: bool = False,
    linearizable_keys: bool = False,
    wfr_keys: bool = False,
    initial: Any = _UNSET,
    transaction_order: Mapping[int, float] | None = None,
    timeout: Duration = 30,
    memory: int | None = None,
) -> Isolation:
    """Check that transactions which write and read registers satisfy a consistency model.

    An op's value is a list of micro-ops `["w", key, value]` and `["r", key, value]`. Each value is
    written by one transaction only to its key. `initial` is what every key holds at first; unless
    it is given, that is None, and a value that nobody wrote is tolerated where a history plainly
    begins in the middle: it is what the first transaction to meet the key read, and no read found
    any key at None. Any other is a `phantom-read`.

    A register forgets what it held, so the order of its versions is known only as far as something
    is assumed: the initial value comes first; with `wfr_keys`, a write follows what the same
    transaction had read; with `sequential_keys`, each process sees each key advance; with
    `linearizable_keys`, everybody does, in real time, as strict serializability and strong
    snapshot isolation say: where these are asked for, it is assumed in the end, and what is found
    only that way is called `-realtime`. Two assumptions that contradict each other,
    or the data, are `cyclic-versions`. Without any, much stays unseen: `valid` means less here than
    in `list_append`.

    For everything else see `list_append`. Source: Elle, section 5. Complexity: O(n log n), and for
    linearizable keys times the number of transactions at work at once.

    Example: T1 read `y` as 1 and wrote `x = 1` and `y = 2`; T2 read `x` as 1, but `y` as 1 still::

        rw_register("serializable")(history).result               # "valid": which `y` came first?
        verdict = rw_register("serializable", wfr_keys=True)(history)
        verdict.anomaly    # "G-single-item"
        verdict.evidence   # … "T2 read 'y' = 1 before T1 wrote 2, so T2 < T1 (rw)" …
    """
    from harness.check.isolation.inference import UNSET, RegisterInference
    from harness.check.isolation.options import make
    from harness.check.isolation.register_versions import Assumptions

    assumed = Assumptions(sequential_keys, linearizable_keys, wfr_keys)
    return make(
        "rw-register",
        RegisterInference(assumed, UNSET if initial is _UNSET else initial),
        consistency_model,
        anomalies,
        transaction_order,
        timeout,
        memory,
    )
