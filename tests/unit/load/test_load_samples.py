"""Reading k6's time series, of rows as k6 writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UnreadableError
from harness.load import read_samples
from harness.load.samples import compress
from harness.timeline import LoadSample

HEADER = (
    "metric_name,timestamp,metric_value,check,error,error_code,expected_response,group,method,"
    "name,proto,scenario,service,status,subproto,tls_version,url,extra_tags,metadata\n"
)
OK = (
    "http_req_duration,2000000500,2.578789,,,,true,,GET,feed,HTTP/1.1,feed,,200,,,feed,"
    "team=a&window=judged,\n"
)
TIMED_OUT = (
    "http_req_duration,2400000000,400.000000,,request timeout,1050,false,,GET,"
    '"http://127.0.0.1:80/pay?a=1,2",,to,,0,,,"http://127.0.0.1:80/pay?a=1,2",window=judged,\n'
)
WARM_UP = OK.replace("judged", "warmup").replace("2000000500", "1000000500")
SETUP = OK.replace("team=a&window=judged", "")
OTHER = "http_req_failed,2000000500,0.000000,,,,true,,GET,feed,,feed,,200,,,feed,window=judged,\n"


def written(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "samples.csv"
    path.write_text("".join(rows))
    return path


def test_the_requests_of_the_judged_window_are_read_in_order_of_time(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER, WARM_UP, OTHER, SETUP, TIMED_OUT, OK)
    assert read_samples(path, -2_000_000_000) == [
        LoadSample(500, "feed", 0.002578789, False, 200),
        LoadSample(400_000_000, "/pay", 0.4, True, 0),
    ]
    assert len(read_samples(path, 0, warmup=True)) == 4


@pytest.mark.parametrize("cut", range(1, len(OK)))
def test_a_row_that_k6_did_not_finish_is_left_out(tmp_path: Path, cut: int) -> None:
    path = written(tmp_path, HEADER, OK, TIMED_OUT, OK[:-cut])
    assert len(read_samples(path, 0)) == 2


def test_a_script_may_leave_system_tags_out(tmp_path: Path) -> None:
    header = "metric_name,timestamp,metric_value,error_code,extra_tags,metadata\n"
    row = "http_req_duration,7,1.0,1050,window=judged,\n"
    assert read_samples(written(tmp_path, header, row), 0) == [LoadSample(7, "/", 0.001, True, 0)]


def test_what_is_compressed_reads_the_same(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER, *[OK] * 1000)
    before = read_samples(path, 0)
    packed = compress(path)
    assert not path.exists() and packed.name == "samples.csv.gz"
    assert read_samples(packed, 0) == before and len(before) == 1000


def test_something_else_is_refused_with_its_name(tmp_path: Path) -> None:
    for path in (written(tmp_path, "a,b\n1,2\n"), tmp_path / "none.csv"):
        with pytest.raises(UnreadableError, match=path.name):
            read_samples(path, 0)
    (tmp_path / "cut.csv.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(UnreadableError, match=r"cut\.csv\.gz"):
        read_samples(tmp_path / "cut.csv.gz", 0)


def test_a_file_that_was_only_begun_holds_nothing(tmp_path: Path) -> None:
    assert read_samples(written(tmp_path, HEADER), 0) == []
    assert read_samples(written(tmp_path, ""), 0) == []
