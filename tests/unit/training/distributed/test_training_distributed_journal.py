"""Reports reach the driver once each, whole, in order."""

from __future__ import annotations

from pathlib import Path

from training.distributed.journal import REPORTS, Journal


def test_reports_are_read_once_and_in_order(tmp_path: Path) -> None:
    worker, driver = Journal(tmp_path / "run"), Journal(tmp_path / "run")
    driver.open()
    assert list(driver.unread()) == []
    worker.write(1, {"loss": 0.5})
    worker.write(2, {"loss": 0.25})
    assert list(driver.unread()) == [(1, {"loss": 0.5}), (2, {"loss": 0.25})]
    worker.write(3, {"loss": 0.125})
    assert list(driver.unread()) == [(3, {"loss": 0.125})]
    assert list(driver.unread()) == []


def test_half_a_line_waits_for_its_end(tmp_path: Path) -> None:
    driver = Journal(tmp_path)
    driver.open()
    line = b'{"step": 1, "metrics": {"loss": 1.0}}\n'
    reports = tmp_path / REPORTS
    reports.write_bytes(line + line[:10])
    assert list(driver.unread()) == [(1, {"loss": 1.0})]
    reports.write_bytes(line + line)
    assert list(driver.unread()) == [(1, {"loss": 1.0})]


def test_opening_forgets_an_earlier_run(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    first.open()
    first.write(1, {"loss": 1.0})
    first.ask_to_stop()
    assert first.stop_asked()
    second = Journal(tmp_path)
    second.open()
    assert not second.stop_asked()
    assert list(second.unread()) == []
