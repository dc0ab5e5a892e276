"""The log of experiments survives its machine, in objects that are never changed and may be read twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.clock import ManualClock
from cluster.errors import ArtifactCorrupt, TransientError
from cluster.storage.files import Storage
from serve_deployments.experiments.exposure_log import Exposure, ExposureLog
from serve_deployments.experiments.log_archive import FOLDER, MANY, LogArchive


class Machine:
    """A board's machine: a local file, and the storage that all machines share."""

    def __init__(self, root: Path, name: str) -> None:
        self.log, self.storage = ExposureLog(root / name / "log.sqlite"), Storage(str(root / "shared"))
        self.archive = LogArchive(self.log, self.storage, ManualClock(1e9))

    def expose(self, first: int, count: int) -> None:
        units = map(str, range(first, first + count))
        self.log.expose(
            Exposure(request_id=f"r{u}", experiment="e", arm="12"[int(u) % 2], unit=u, phase=1, at_s=0.0)
            for u in units
        )
        self.log.record_outcomes({f"r{first}": {"sold": 1.0}})

    def objects(self, size: str) -> int:
        return sum(f"/{size}-" in name for name in self.storage.list(FOLDER))


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)


def sold(log: ExposureLog) -> float:
    return float(sum(each.values.sum() for each in log.units("e", "sold", only_known=False).values()))


def test_another_machine_goes_on_where_the_first_was_lost(tmp_path: Path) -> None:
    first = Machine(tmp_path, "first")
    first.expose(0, 10)
    first.log.describe_units("e", {"3": 2.5})
    assert first.archive.ship() == 12 and first.archive.ship() == 0
    first.expose(10, 4)
    assert first.archive.ship() == 5
    second = Machine(tmp_path, "second")
    assert (second.archive.restore(), second.archive.restore()) == (2, 0)
    assert second.log.unit_counts("e") == {"1": 7, "2": 7} and sold(second.log) == 2.0
    assert second.archive.ship() == 0, "what came from the storage is not shipped again"
    second.expose(14, 2)
    assert second.archive.ship() == 3
    assert first.archive.restore() == 1 and first.log.unit_counts("e") == {"1": 8, "2": 8}


def test_a_process_that_dies_before_it_ships_loses_nothing(tmp_path: Path) -> None:
    Machine(tmp_path, "first").expose(0, 10)
    again = Machine(tmp_path, "first")
    again.archive.restore()
    assert again.archive.ship() == 11


def test_rows_that_were_not_shipped_are_shipped_after_others_were_read(tmp_path: Path) -> None:
    first, second = Machine(tmp_path, "first"), Machine(tmp_path, "second")
    first.expose(0, 10)
    first.archive.ship()
    second.expose(10, 4)
    second.archive.restore()
    second.archive.ship()
    third = Machine(tmp_path, "third")
    third.archive.restore()
    assert third.log.unit_counts("e") == {"1": 7, "2": 7}


def test_many_small_objects_become_one_and_a_cut_in_between_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path, "first")
    for place in range(MANY - 1):
        machine.expose(2 * place, 2)
        machine.archive.ship()
    assert (machine.objects("small"), machine.objects("large")) == (MANY - 1, 0)

    def refuse(_: str) -> None:
        raise TransientError("the storage went away")

    with monkeypatch.context() as cut:
        cut.setattr(machine.storage, "delete", refuse)
        machine.expose(2 * MANY, 2)
        with pytest.raises(TransientError):
            machine.archive.ship()
    assert (machine.objects("small"), machine.objects("large")) == (MANY, 1)
    other = Machine(tmp_path, "other")
    other.archive.restore()
    assert other.log.unit_counts("e") == {"1": MANY, "2": MANY} and sold(other.log) == MANY
    machine.expose(4 * MANY, 2)
    machine.archive.ship()
    assert machine.objects("small") == 0
    last = Machine(tmp_path, "last")
    last.archive.restore()
    assert last.log.unit_counts("e") == {"1": MANY + 1, "2": MANY + 1}


def test_while_the_storage_is_away_rows_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, "first")
    machine.expose(0, 2)

    def refuse(*_: object) -> None:
        raise TransientError("the storage went away")

    with monkeypatch.context() as away:
        away.setattr(machine.storage, "write_bytes", refuse)
        with pytest.raises(TransientError):
            machine.archive.ship()
    assert machine.archive.ship() == 3


@pytest.mark.parametrize("data", [b"", b"no gzip", b"\x1f\x8b\x08\x00"])
def test_an_object_that_cannot_be_read_is_named(tmp_path: Path, data: bytes) -> None:
    machine = Machine(tmp_path, "first")
    machine.storage.write_bytes(f"{FOLDER}/small-1.json.gz", data)
    with pytest.raises(ArtifactCorrupt, match=r"small-1\.json\.gz"):
        machine.archive.restore()
