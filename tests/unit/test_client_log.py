"""Client libraries' log records go to the run's folder; those of the test stay where they were."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from harness.client_log import client_log


def test_other_threads_log_to_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def log(text: str) -> None:
        logging.getLogger("library").warning(text)

    def elsewhere(text: str) -> None:
        thread = threading.Thread(target=log, args=(text,))
        thread.start()
        thread.join()

    path = tmp_path / "clients.log"
    with client_log(path):
        log("of the test")
        elsewhere("of a client")
    elsewhere("afterwards")
    assert [record.message for record in caplog.records] == ["of the test", "afterwards"]
    assert path.read_text().endswith("WARNING library: of a client\n")
    assert path.read_text().count("\n") == 1


def test_no_file_without_a_record(tmp_path: Path) -> None:
    with client_log(tmp_path / "clients.log"):
        pass
    assert not (tmp_path / "clients.log").exists()
