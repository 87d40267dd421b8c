"""Migrations are numbered without a gap, and the user that serves cannot change the audit log."""

from __future__ import annotations

import re

from targets.jobs.app.schema import GRANTS, migrations
from targets.jobs.app.settings import MUTANTS, PORTS, Settings


def test_migrations_are_in_order_and_without_a_gap() -> None:
    assert [number for number, _, _ in migrations()] == list(range(len(migrations())))


def test_every_table_is_granted_and_the_logs_can_only_be_added_to() -> None:
    text = "".join(text for _, _, text in migrations())
    tables = set(re.findall(r"CREATE (?:TABLE|VIEW) (\w+)", text))
    assert tables | {"schema_migrations"} == GRANTS.keys()
    for ledger in ("audit", "effects", "cron_runs"):
        assert GRANTS[ledger] == "SELECT, INSERT"


def test_no_constraint_makes_the_ledgers_unique_by_accident() -> None:
    text = "".join(text for _, _, text in migrations())
    for ledger in ("effects", "cron_runs"):
        (table,) = re.findall(rf"CREATE TABLE {ledger} \((.*?)\n\);", text, re.DOTALL)
        assert "UNIQUE" not in table
        assert "PRIMARY" not in table
        assert not re.findall(rf"CREATE UNIQUE INDEX \w+ ON {ledger}", text)


def test_settings_come_back_as_they_were_written(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "settings.json"
    for role in PORTS:
        settings = Settings(name="n", role=role, address="127.0.0.1", mutant="no-fencing")
        path.write_text(settings.to_json())
        assert Settings.read(path) == settings


def test_mutants_are_told_in_a_sentence() -> None:
    assert all(re.fullmatch(r"[a-z-]+", name) for name in MUTANTS)
    assert all(len(sentence) > 20 for sentence in MUTANTS.values())
