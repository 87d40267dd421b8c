"""What the harness is told of payments: options, events, operations, and what they may answer."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import pytest

from harness import Node, Request
from harness.check import linearizable
from harness.errors import UsageError
from harness.history import History, Op
from harness.seeds import stream
from targets import payments
from targets.payments import ChargeModel, Payments, PaymentsClient, payments_workload
from targets.payments.app.settings import Settings

APP = Path(payments.__file__).parent / "app"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"key_lifetime_s": 60.0}, "charge twice"),
        ({"retry_horizon_s": 0.0}, "retry_horizon_s"),
        ({"workers": 0}, "workers"),
        ({"clock_speed": 0.0}, "clock_speed"),
        ({"mutant": "no-such"}, "no-bulkhead"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Payments(**options)  # type: ignore[arg-type]


def test_a_node_reads_back_the_settings_that_it_was_given(tmp_path: Path) -> None:
    target = Payments(mutant="no-breaker", clock_speed=2.0)
    node = Node("store", "127.0.0.9", tmp_path, target.ports_of("store"))
    for name, text in target.files(node, [node]).items():
        (tmp_path / name).write_text(text)
    assert Settings.read(tmp_path / target.command(node, [node])[-1]) == Settings(
        name="store", address="127.0.0.9", mutant="no-breaker", clock_speed=2.0
    )
    assert Settings.read(tmp_path / "settings.json").port == 8084


def test_every_mutant_is_a_marked_branch_of_the_service() -> None:
    lines = [line for file in APP.rglob("*.py") for line in file.read_text().splitlines()]
    for mutant in Payments.mutants:
        assert any(f'"{mutant}"' in line and "# Mutant" in line for line in lines), mutant
    marked = [line for line in lines if "# Mutant" in line]
    # (no-bulkhead is two: the guards let everything through, and one pool holds everything)
    assert len(marked) == len(Payments.mutants) + 1


def test_every_port_has_a_probe() -> None:
    assert Payments().all_ports.keys() == Payments.probes.keys()


def test_of_a_log_only_events_are_kept() -> None:
    line = {"at": 12.5, "level": "info", "event": "breaker", "node": "n", "state": "open"}
    event = Payments().event
    assert event(json.dumps(line)) == (
        12.5,
        "breaker",
        {"level": "info", "node": "n", "state": "open"},
    )
    broken = ['{"at":1', "Traceback", "[]", "3", '{"event": "breaker"}', '{"at": 1}']
    for text in (*broken, json.dumps({**line, "event": "charge"}), json.dumps({**line, "at": "x"})):
        assert event(text) is None


def test_operations_come_from_the_seed_and_payloads_from_the_key() -> None:
    workload = payments_workload()

    def first(count: int, seed: int, client: int, acknowledging: bool = True) -> list[Request]:
        observed: dict[object, object] = {}
        found = []
        for request in itertools.islice(
            workload.requests(stream(seed, "w"), client, observed), count
        ):
            found.append(request)
            if acknowledging and request.f == "charge":
                observed[request.key] = request.values[1]
        return found

    assert first(500, 1, 0) == first(500, 1, 0) != first(500, 2, 0)
    everything = [request for client in range(6) for request in first(1000, client, client)]
    charges = [request for request in everything if request.f == "charge"]
    payloads: dict[object, set[object]] = {}
    for request in charges:
        payloads.setdefault(request.key, set()).add(request.values)
    assert all(len(values) == 1 for values in payloads.values())
    assert 0.2 < (len(charges) - len(payloads)) / len(everything) < 0.35
    assert 0.2 < 1 - len(charges) / len(everything) < 0.4

    # What was not acknowledged is repeated, and everything else stays as it was.
    lost = first(1000, 1, 1, acknowledging=False)
    pairs = list(zip(lost, first(1000, 1, 1), strict=True))
    assert all(one.f == other.f for one, other in pairs)
    changed = [one for one, other in pairs if one != other]
    assert changed
    assert all(one.f == "charge" and str(one.key).startswith("k1-") for one in changed)


def test_a_watched_charge_is_asked_for_before_and_after() -> None:
    requests = list(itertools.islice(payments_workload().requests(stream(1, "w"), 0, {}), 300))
    triples = zip(requests, requests[1:], requests[2:], strict=False)
    watched = [
        charge.key
        for before, charge, after in triples
        if [before.f, charge.f, after.f] == ["status", "charge", "status"]
        and before.key == charge.key == after.key
    ]
    assert len(watched) > 10


def test_every_operation_has_a_method_and_final_ones_are_reads() -> None:
    workload = payments_workload()
    requests = workload.requests(stream(1, "w"), 0, {})
    names = {request.f for request in itertools.islice(requests, 500)}
    assert names == {"charge", "status"}
    finals = {request.f for request in workload.final}
    assert finals | {"status"} == PaymentsClient.reads
    assert all(hasattr(PaymentsClient, name) for name in names | finals)
    assert {request.at for request in workload.final} <= Payments.dependencies.keys()


_CHARGE = Op(
    process=0, f="charge", key="k", value=["a", 5], outcome="ok", result=5, start=0, end=1,
    index=0, end_index=1,
)  # fmt: skip


def judged(*ops: Op) -> str:
    numbered = [
        dataclasses.replace(
            op,
            start=2 * n,
            end=None if op.outcome == "info" else 2 * n + 1,
            index=2 * n,
            end_index=None if op.outcome == "info" else 2 * n + 1,
        )
        for n, op in enumerate(ops)
    ]
    return linearizable(ChargeModel())(History(numbered)).result


def status(result: int | None, outcome: str = "ok") -> Op:
    return dataclasses.replace(_CHARGE, f="status", value=None, result=result, outcome=outcome)  # type: ignore[arg-type]


def charge(outcome: str = "ok", result: int | None = 5) -> Op:
    return dataclasses.replace(_CHARGE, outcome=outcome, result=result)  # type: ignore[arg-type]


EFFECTS = dataclasses.replace(_CHARGE, f="effects", key=None, value=None, result=[["k", "c", 5]])


@pytest.mark.parametrize(
    "ops",
    [
        (status(None), charge(), status(5), charge()),
        (charge("info"), status(None), status(5), charge()),
        (charge("info"), charge("fail"), status(None), EFFECTS),
        (charge("fail"), status(None), charge(), status(99, "fail")),
    ],
)
def test_what_a_sound_system_answers_is_legal(ops: tuple[Op, ...]) -> None:
    assert judged(*ops) == "valid"


@pytest.mark.parametrize(
    "ops",
    [
        (charge(), status(None)),
        (charge("info"), status(5), status(None)),
        (status(5),),
        (charge("fail"), status(5)),
        (charge(result=6),),
        (charge(), status(6)),
    ],
)
def test_what_it_cannot_answer_is_illegal(ops: tuple[Op, ...]) -> None:
    assert judged(*ops) == "invalid"
