"""The parts that serve all others: telemetry, tasks, callbacks, names."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from primitives.callbacks import Callbacks
from primitives.names import address_of
from primitives.tasks import Tasks
from primitives.telemetry import Metrics, Schema, emit

from tests.support.virtual_time import run_virtually

SCHEMA = Schema(
    component="kettle",
    operations={"boil": ("ok", "dry"), "pour": ("ok",)},
    gauges=("litres",),
    timed=("boil",),
)


def lines(capfd: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_events_are_lines_of_json_with_the_time_of_the_loop(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def work() -> None:
        await asyncio.sleep(2.5)
        emit("boiled", litres=1.5, kettle=Path("k"))

    run_virtually(work())
    assert lines(capfd) == [{"event": "boiled", "at": 2.5, "litres": 1.5, "kettle": "k"}]


def test_a_full_disk_does_not_change_what_a_node_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_file: int, _line: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("primitives.telemetry.os.write", full)
    emit("boiled")


def test_all_series_of_a_schema_exist_from_the_start_and_no_others_ever() -> None:
    metrics = Metrics()
    meter = metrics.meter(SCHEMA, adapter="electric")
    before = {line.rpartition(" ")[0] for line in metrics.text().decode().splitlines()}
    meter.count("boil", "dry", 3)
    meter.gauge("litres", 1.5)
    meter.observe("boil", 0.2)
    text = metrics.text().decode()
    assert {line.rpartition(" ")[0] for line in text.splitlines()} == before
    series = 'component="kettle",operation="boil",outcome="dry"'
    assert f'primitives_operations_total{{adapter="electric",{series}}} 3.0' in text
    with pytest.raises(ValueError, match="not in the component's schema"):
        meter.count("boil", "cold")
    with pytest.raises(ValueError, match="not in the component's schema"):
        meter.gauge("degrees", 1)
    with pytest.raises(ValueError, match="not in the component's schema"):
        meter.observe("pour", 1)


def test_two_adapters_of_a_component_count_for_themselves() -> None:
    metrics = Metrics()
    electric, gas = metrics.meter(SCHEMA, "electric"), metrics.meter(SCHEMA, "gas")
    electric.count("pour")
    gas.count("pour", number=2)
    text = metrics.text().decode()
    series = 'component="kettle",operation="pour",outcome="ok"'
    assert f'{{adapter="electric",{series}}} 1.0' in text
    assert f'{{adapter="gas",{series}}} 2.0' in text


def test_a_callback_that_fails_is_logged_and_the_others_are_called(
    capfd: pytest.CaptureFixture[str],
) -> None:
    callbacks = Callbacks[int]("kettle")
    got: list[int] = []

    def fail(number: int) -> None:
        raise ZeroDivisionError(number)

    callbacks.add(fail)
    callbacks.add(got.append)
    callbacks(7)
    assert got == [7]
    (line,) = lines(capfd)
    assert (line["event"], line["of"]) == ("callback-failed", "kettle")


def test_tasks_that_fail_are_logged_and_all_others_end_when_closed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def work() -> None:
        tasks = Tasks()
        ended = []

        async def fail() -> None:
            raise ZeroDivisionError

        async def wait() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(True)

        tasks.run(fail())
        tasks.run(wait())
        await asyncio.sleep(1)
        assert not ended
        await tasks.close()
        assert ended
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtually(work())
    (line,) = lines(capfd)
    assert line["event"] == "task-failed"
    assert str(line["task"]).endswith("fail")


def test_names_are_those_of_the_hosts_file(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text(
        "# 127.0.0.9 node-1\n"
        "127.0.0.1 localhost\n"
        "::1 localhost node-1 # not IPv4\n"
        "127.5.1.1\tnode-1 one\n"
        "127.5.1.2 node-1\n"
        "\n"
    )
    assert address_of("node-1", hosts) == "127.5.1.1"
    assert address_of("one", hosts) == "127.5.1.1"
    assert address_of("127.9.9.9", hosts) == "127.9.9.9"
    with pytest.raises(OSError, match="does not name node-2: add a line"):
        address_of("node-2", hosts)
