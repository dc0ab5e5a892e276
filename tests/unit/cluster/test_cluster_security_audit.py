"""The audit log: what is done to it is found and named; crashes, overload and age are told by itself."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.clock import ManualClock
from cluster.errors import ConfigError, TransientError
from cluster.security.audit_chain import Head, Signer, read_line
from cluster.security.audit_check import AuditReport, check_folder
from cluster.security.audit_file import AuditFile
from cluster.security.audit_folder import ANCHORS, AuditFolder
from cluster.security.audit_log import AuditedRequest, AuditLog

NOON_S = 1_795_262_400.0  # 2026-11-21 12:00 UTC
DAY_S = 86_400.0
SEGMENT = "2026-11-21/replica-1"
Lines = list[bytes]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON_S)


@pytest.fixture
def signer() -> Signer:
    return Signer(b"k" * 32)


@pytest.fixture
def folder(tmp_path: Path, clock: ManualClock, signer: Signer) -> AuditFolder:
    return AuditFolder(path=tmp_path / "audit", signer=signer, clock=clock)


def request(number: int, **more: object) -> AuditedRequest:
    facts = {"time_s": NOON_S + number, "key_id": "0123456789ab", "role": "predictor", "method": "POST"}
    rest = {"route": "/v1/emissions/forecast", "status": 200, "request_id": f"r{number}", "duration_us": 900}
    return AuditedRequest(**{**facts, **rest, **more})  # type: ignore[arg-type]


def filled(folder: AuditFolder, clock: ManualClock, records: int = 6, writer: str = "replica-1") -> Path:
    with AuditLog(folder, writer, clock) as log:
        for number in range(records):
            log.request(request(number))
    return folder.path / f"{folder.today()}/{writer}.jsonl"


def found(report: AuditReport) -> list[tuple[str, str]]:
    return [(each.segment, each.what) for each in report.findings]


def check(folder: AuditFolder) -> AuditReport:
    return check_folder(folder.path, folder.signer)


def test_a_whole_log_is_whole(folder: AuditFolder, clock: ManualClock) -> None:
    path = filled(folder, clock)
    with AuditLog(folder, "cli", clock) as log:
        log.act("cli:alice", "keys.revoke", "0123456789ab")
    report = check(folder)
    assert (report.whole, report.findings, report.segments, report.records) == (True, [], 3, 6 + 1 + 2)
    first = json.loads(path.read_bytes().splitlines()[0])
    assert first.items() >= {"key": "0123456789ab", "status": 200, "n": 1, "request_id": "r0"}.items()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def changed(lines: Lines) -> Lines:
    lines[2] = lines[2].replace(b'"status":200', b'"status":403')
    return lines


def spaced(lines: Lines) -> Lines:
    lines[2] = lines[2].replace(b",", b", ", 1)
    return lines


def deleted(lines: Lines) -> Lines:
    return lines[:2] + lines[3:]


def beheaded(lines: Lines) -> Lines:
    return lines[2:]


def reordered(lines: Lines) -> Lines:
    return [lines[0], lines[2], lines[1], *lines[3:]]


def doubled(lines: Lines) -> Lines:
    return [*lines[:3], lines[2], *lines[3:]]


def inserted(lines: Lines) -> Lines:
    before = read_line(lines[1])
    assert before is not None
    (line,), _ = before.head.lines([{"kind": "request", "status": 200}])
    return [*lines[:2], line, *lines[3:]]


def truncated(lines: Lines) -> Lines:
    return lines[:-2]


def emptied(lines: Lines) -> Lines:
    return []


def unreadable(lines: Lines) -> Lines:
    return [*lines[:3], b"{}", *lines[3:]]


def rewritten(lines: Lines) -> Lines:
    made, _ = Head.start(SEGMENT).lines({"kind": "request", "request_id": f"x{n}"} for n in range(len(lines)))
    return made


@pytest.mark.parametrize(
    ("tamper", "what", "message"),
    [
        (changed, ["changed"], "record 3 has not the content"),
        (spaced, ["changed"], "record 3 has not the content"),
        (deleted, ["deleted"], "record 3 is gone"),
        (beheaded, ["deleted"], r"record 1 to 2 \(2 of them\) is gone"),
        (reordered, ["reordered"], "record 2 stands after record 3"),
        (doubled, ["inserted"], "record 3 is there twice"),
        (inserted, ["inserted"], "record 4 does not follow record 3"),
        (truncated, ["truncated"], "6 records were signed, the last one there is 4"),
        (emptied, ["truncated"], "6 records were signed, the last one there is 0"),
        (unreadable, ["unreadable"], "line 4 is no record"),
        (rewritten, ["replaced"], "record 6 is not the signed one"),
    ],
)
def test_what_was_done_to_the_lines_is_named(
    folder: AuditFolder, clock: ManualClock, tamper: Callable[[Lines], Lines], what: list[str], message: str
) -> None:
    path = filled(folder, clock)
    path.write_bytes(b"".join(line + b"\n" for line in tamper(path.read_bytes().splitlines())))
    report = check(folder)
    assert not report.whole
    assert found(report) == [(SEGMENT, each) for each in what]
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(report.findings[0].message)


def test_a_vanished_segment_is_missed_and_an_unknown_one_seen(folder: AuditFolder, clock: ManualClock) -> None:
    path = filled(folder, clock)
    path.rename(path.with_name("other.jsonl"))
    assert sorted(found(check(folder))) == [("2026-11-21/other", "inserted"), (SEGMENT, "missing")]


def test_swapped_segments_are_seen(folder: AuditFolder, clock: ManualClock) -> None:
    one, two = filled(folder, clock), filled(folder, clock, records=4, writer="replica-2")
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    assert {what for _, what in found(check(folder))} == {"inserted", "truncated", "replaced"}


@pytest.mark.parametrize("damage", ["gone", "forged", "foreign"])
def test_a_head_that_is_not_signed_is_seen(folder: AuditFolder, clock: ManualClock, damage: str) -> None:
    path = filled(folder, clock).with_suffix(".head")
    head = folder.signer.read(SEGMENT, path.read_bytes())
    assert head is not None
    if damage == "gone":
        path.unlink()
    elif damage == "forged":
        path.write_bytes(Signer(b"x" * 32).sign(SEGMENT, head))
    else:
        path.write_bytes(folder.signer.sign("2026-11-21/replica-2", head))
    assert found(check(folder)) == [(SEGMENT, "unsigned")]


def test_the_anchors_are_a_chain_themselves(folder: AuditFolder, clock: ManualClock) -> None:
    filled(folder, clock)
    (folder.path / "anchors.jsonl").unlink()
    assert found(check(folder)) == [(ANCHORS, "missing"), (SEGMENT, "inserted")]


def test_a_whole_older_state_is_seen_only_against_a_witness(folder: AuditFolder, clock: ManualClock) -> None:
    filled(folder, clock)
    kept = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    filled(folder, clock, writer="replica-2")
    witness = check(folder).head
    for path in folder.path.rglob("*"):
        if path.is_file() and path not in kept:
            path.unlink()
    (folder.path / "2026-11-21").joinpath("replica-2.head").unlink(missing_ok=True)
    for path, data in kept.items():
        path.write_bytes(data)
    assert check(folder).whole
    report = check_folder(folder.path, folder.signer, witness=witness)
    assert found(report) == [(ANCHORS, "replaced")]


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_a_torn_last_line_stays_and_the_chain_goes_on_with_a_mark(
    folder: AuditFolder, clock: ManualClock, cut: int
) -> None:
    path = filled(folder, clock)
    head = path.with_suffix(".head").read_bytes()
    filled(folder, clock, records=1)  # the same writer again: record 7
    path.with_suffix(".head").write_bytes(head)  # a crash before the head was signed
    whole = path.read_bytes()
    os.truncate(path, len(whole) - cut)
    torn = path.read_bytes().rpartition(b"\n")[2]
    assert check(folder).whole
    filled(folder, clock, records=2)
    report = check(folder)
    assert report.whole
    mark = "record 8: 1 unsigned records, 0" if cut == 1 else f"record 7: 0 unsigned records, {len(torn)}"
    assert [each.message for each in report.findings] == [f"{mark} torn bytes"]
    assert torn in path.read_bytes()
    assert read_line(path.read_bytes().splitlines()[-1]).n == (10 if cut == 1 else 9)  # type: ignore[union-attr]


def test_records_beyond_the_signed_head_are_counted_in_the_mark(folder: AuditFolder, clock: ManualClock) -> None:
    path = filled(folder, clock)
    head = path.with_suffix(".head").read_bytes()
    filled(folder, clock, records=3)
    path.with_suffix(".head").write_bytes(head)
    filled(folder, clock, records=1)
    assert [each.message for each in check(folder).findings] == ["record 10: 3 unsigned records, 0 torn bytes"]
    assert check(folder).whole


@pytest.mark.parametrize(
    ("tamper", "fault"),
    [
        (truncated, "6 records were signed, 4 are there"),
        (rewritten, "record 6 is not the signed one"),
        (emptied, "6 records were signed, 0 are there"),
    ],
)
def test_taking_a_tampered_file_up_again_does_not_wash_it_clean(
    folder: AuditFolder, clock: ManualClock, tamper: Callable[[Lines], Lines], fault: str
) -> None:
    path = filled(folder, clock)
    path.write_bytes(b"".join(line + b"\n" for line in tamper(path.read_bytes().splitlines())))
    filled(folder, clock, records=2)
    report = check(folder)
    assert not report.whole
    assert any(fault in each.message for each in report.findings)


def test_a_deleted_head_is_not_washed_clean_either(folder: AuditFolder, clock: ManualClock) -> None:
    path = filled(folder, clock)
    path.with_suffix(".head").unlink()
    filled(folder, clock, records=1)
    assert ["it had no signed head" in each.message for each in check(folder).findings] == [True]
    assert not check(folder).whole


def test_a_file_deleted_under_its_writer_is_taken_up_again_and_told(
    folder: AuditFolder, clock: ManualClock
) -> None:
    with AuditLog(folder, "replica-1", clock) as log:
        log.request(request(1))
        log.drain()
        (folder.path / f"{SEGMENT}.jsonl").unlink()
        log.request(request(2))
        log.drain()
        log.drain()
    assert any("1 records were signed, 0 are there" in each.message for each in check(folder).findings)


def test_a_full_queue_drops_requests_and_says_how_many(folder: AuditFolder, clock: ManualClock) -> None:
    told: list[int] = []
    with AuditLog(folder, "replica-1", clock, most_waiting=3, on_drop=lambda: told.append(1)) as log:
        for number in range(10):
            log.request(request(number))
        assert log.dropped == len(told) == 7
        log.drain()
        log.request(request(10))
    report = check(folder)
    assert report.whole
    assert [each.message for each in report.findings] == ["record 4: 7 requests were not recorded"]
    assert report.records == 3 + 1 + 1 + 1


def test_what_cannot_be_written_waits_and_acts_are_refused(
    folder: AuditFolder, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with AuditLog(folder, "replica-1", clock) as log:
        log.request(request(1))
        log.drain()
        log.request(request(2))
        with monkeypatch.context() as broken:
            broken.setattr(os, "write", full)
            log.drain()
            with pytest.raises(TransientError, match=r"'keys\.create' is refused, because .* No space left"):
                log.act("cli:alice", "keys.create", "bob")
    report = check(folder)
    assert (report.whole, report.findings, report.records) == (True, [], 2 + 1)


def test_half_a_write_is_taken_back(
    folder: AuditFolder, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = filled(folder, clock)
    size, calls, write = path.stat().st_size, [0], os.write

    def some(file: int, data: bytes) -> int:
        calls[0] += 1
        if calls[0] > 1:
            raise OSError(28, "No space left on device")
        return write(file, data[:10])

    with AuditFile(folder.path, SEGMENT, folder.signer) as file:
        with monkeypatch.context() as broken:
            broken.setattr(os, "write", some)
            with pytest.raises(TransientError):
                file.append([{"kind": "request"}])
        assert path.stat().st_size == size
        file.append([{"kind": "request"}])
    assert check(folder).findings == []


def test_an_act_is_recorded_before_it_is_done_and_after(folder: AuditFolder, clock: ManualClock) -> None:
    with AuditLog(folder, "cli", clock) as log:
        with log.acting("cli:alice", "keys.create", "bob", role="admin"):
            assert b"keys.create" in (folder.path / "2026-11-21/cli.jsonl").read_bytes()
        with pytest.raises(ZeroDivisionError), log.acting("cli:alice", "keys.revoke", "bob"):
            raise ZeroDivisionError
    lines = (folder.path / "2026-11-21/cli.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["action"] for line in lines] == [
        "keys.create",
        "keys.create.done",
        "keys.revoke",
        "keys.revoke.failed",
    ]


def test_a_thread_writes_what_waits(folder: AuditFolder, clock: ManualClock) -> None:
    with AuditLog(folder, "replica-1", clock) as log:
        log.start()
        log.request(request(1))
        log.act("api:0123456789ab", "cache.clear", "all")
        assert check(folder).records == 2 + 1
    assert check(folder).whole


def test_one_name_is_one_writer_at_a_time(folder: AuditFolder, clock: ManualClock) -> None:
    filled(folder, clock)
    with (
        AuditFile(folder.path, SEGMENT, folder.signer),
        pytest.raises(TransientError, match="another process holds"),
    ):
        AuditFile(folder.path, SEGMENT, folder.signer, wait_s=0)
    with pytest.raises(ConfigError, match="audit writer"):
        folder.open_segment("../../etc/passwd")


def test_a_new_day_seals_the_old_segment(folder: AuditFolder, clock: ManualClock) -> None:
    with AuditLog(folder, "replica-1", clock) as log:
        log.request(request(1))
        log.drain()
        clock.advance(DAY_S)
        log.request(request(2))
    states = {name: line.entry["kind"] for name, line in folder.states().items()}
    assert states == {SEGMENT: "sealed", "2026-11-22/replica-1": "opened"}
    with AuditFile(folder.path, SEGMENT, folder.signer) as file:
        file.append([{"kind": "request", "late": True}])
    assert found(check(folder)) == [(SEGMENT, "replaced")]


def test_segments_of_dead_writers_are_sealed_and_living_ones_left(folder: AuditFolder, clock: ManualClock) -> None:
    filled(folder, clock, writer="dead")
    with AuditLog(folder, "alive", clock) as alive:
        alive.request(request(1))
        alive.drain()
        clock.advance(DAY_S)
        filled(folder, clock, writer="new")
        kinds = {name: line.entry["kind"] for name, line in folder.states().items()}
    assert kinds == {"2026-11-21/dead": "sealed", "2026-11-21/alive": "opened", "2026-11-22/new": "opened"}
    assert check(folder).findings == []


def test_what_is_too_old_goes_and_its_anchor_stays(folder: AuditFolder, clock: ManualClock) -> None:
    path = filled(folder, clock)
    clock.advance(365 * DAY_S)
    filled(folder, clock, writer="later")
    assert path.exists()
    clock.advance(DAY_S)
    filled(folder, clock, writer="later")
    assert not path.parent.exists()
    anchor = folder.states()[SEGMENT].entry
    assert (anchor["kind"], anchor["records"]) == ("expired", 6)
    report = check(folder)
    assert report.findings == []
    path.parent.mkdir()
    path.write_bytes(b"")
    assert found(check(folder)) == [(SEGMENT, "inserted")]


def test_the_key_of_the_heads_is_made_once_and_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "audit.key"
    with pytest.raises(ConfigError, match="ML_AUDIT_KEY_FILE"):
        Signer.from_file(path)
    one, two = Signer.from_file(path, create=True), Signer.from_file(path, create=True)
    head = Head.start("x")
    assert two.read("x", one.sign("x", head)) == head
    assert [each.name for each in path.parent.iterdir()] == ["audit.key"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="0640"):
        Signer.from_file(path)
    path.chmod(0o600)
    path.write_text("short")
    with pytest.raises(ConfigError, match="damaged"):
        Signer.from_file(path)
