"""Finds what was done to an audit log: changed, deleted, inserted, reordered, truncated, replaced."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cluster.security.audit_chain import Head, Line, Signer, read_line
from cluster.security.audit_file import HEAD, RECOVERED, path_of
from cluster.security.audit_folder import ANCHORS, EXPIRED, SEALED, anchors_held, states_of


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing found.

    Parameters
    ----------
    segment
        Name of the chain.
    what
        One word: `changed`, `deleted`, `inserted`, `reordered`, `truncated`, `unreadable`, `replaced`, `missing`,
        `unsigned`, `recovered` or `gap`.
    message
        Which records, and what is wrong.
    tampering
        False for what a crash or an overload leaves, which the log itself says.
    """

    segment: str
    what: str
    message: str
    tampering: bool = True


@dataclass(kw_only=True)
class AuditReport:
    """What a check found.

    Parameters
    ----------
    segments, records
        How much was checked.
    findings
        Nothing where all is whole.
    head
        End of the chain of anchors: keep it elsewhere, and a later check against it shows that nothing up to it was
        rolled back.
    """

    segments: int = 0
    records: int = 0
    findings: list[Finding] = field(default_factory=list)
    head: Head = field(default_factory=lambda: Head.start(ANCHORS))

    @property
    def whole(self) -> bool:
        """Whether nothing was tampered with."""
        return not any(each.tampering for each in self.findings)


def check_folder(folder: Path, signer: Signer, *, witness: Head | None = None) -> AuditReport:
    """Check every chain in an audit folder.

    Parameters
    ----------
    folder
        The audit folder; writers may go on meanwhile.
    signer
        Has the key of the heads.
    witness
        An earlier report's head. Only against one kept elsewhere can it be seen that somebody put back a whole
        older state, key or not.
    """
    report = AuditReport()
    with anchors_held(folder):
        anchors = check_chain(folder, ANCHORS, signer, report)
        states = states_of(anchors)
        files = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.glob("*/*.jsonl")}
    report.head = anchors[-1].head if anchors else report.head
    if witness is not None and witness.records and witness not in [line.head for line in anchors]:
        report.findings.append(_finding(ANCHORS, "replaced", f"record {witness.records} is not the one witnessed"))
    for name, anchor in states.items():
        if anchor.entry["kind"] != EXPIRED:
            _check_anchor(name, anchor, check_chain(folder, name, signer, report), report)
    for name in sorted(files - {name for name, anchor in states.items() if anchor.entry["kind"] != EXPIRED}):
        report.findings.append(_finding(name, "inserted", "no anchor opened this segment"))
    return report


def check_chain(folder: Path, name: str, signer: Signer, report: AuditReport) -> list[Line]:
    """Check one chain, add to the report, and return its lines."""
    path = path_of(folder, name)
    head_path = path.with_suffix(HEAD)
    # The head first: lines written in between are then beyond it, and not missing.
    head_text = head_path.read_bytes() if head_path.is_file() else None
    if not path.is_file():
        if name != ANCHORS or any(folder.glob("*/*.jsonl")):
            report.findings.append(_finding(name, "missing", "the file is gone"))
        return []
    findings, lines = read_chain(name, path.read_bytes())
    signed = signer.read(name, head_text) if head_text is not None else None
    findings += list(_against_head(name, lines, signed, head_text))
    report.segments += 1
    report.records += len(lines)
    report.findings += findings
    return lines


def read_chain(name: str, data: bytes) -> tuple[list[Finding], list[Line]]:
    """Return what is wrong inside a chain, and its lines."""
    findings: list[Finding] = []
    lines: list[Line] = []
    loose: list[tuple[int, bytes]] = []
    raws = data.removesuffix(b"\n").split(b"\n") if data else []
    for number, raw in enumerate(raws, start=1):
        line = read_line(raw)
        if line is None:
            loose.append((number, raw))
            continue
        findings += _unreadable(name, loose, line)
        findings += _told(name, line)
        loose = []
        lines.append(line)
    if not data.endswith(b"\n") and len(loose) == 1:
        # A crash, or a writer in the middle of a line; who opens the file next says so in it.
        findings.append(_finding(name, RECOVERED, f"{len(loose[0][1])} bytes of a last line", tampering=False))
    else:
        findings += _unreadable(name, loose, None)
    return findings + list(_order(name, lines)), lines


def _unreadable(name: str, loose: list[tuple[int, bytes]], after: Line | None) -> Iterator[Finding]:
    """Tell of lines that are no records, unless the record after them says that a crash left them."""
    if not loose:
        return
    torn = b"\n".join(raw for _, raw in loose)
    told = after is not None and after.entry.get("kind") == RECOVERED and after.entry.get("torn_sha256")
    if told != hashlib.sha256(torn).hexdigest():
        yield _finding(name, "unreadable", f"line {loose[0][0]} is no record")


def _told(name: str, line: Line) -> Iterator[Finding]:
    """Tell what the log itself says of crashes and overload."""
    kind = line.entry.get("kind")
    if kind == RECOVERED:
        fault = str(line.entry.get("fault", ""))
        text = f"record {line.n}: {line.entry['unsigned']} unsigned records, {line.entry['torn_bytes']} torn bytes"
        yield _finding(name, RECOVERED, f"{text}{'; ' + fault if fault else ''}", tampering=bool(fault))
    elif kind == "gap":
        dropped = line.entry["dropped"]
        yield _finding(name, "gap", f"record {line.n}: {dropped} requests were not recorded", tampering=False)


def _order(name: str, lines: list[Line]) -> Iterator[Finding]:
    """Name what is wrong with the numbers and hashes: each number stands once, in order, after the one it names."""
    for line in lines:
        if not line.intact:
            yield _finding(name, "changed", f"record {line.n} has not the content it was written with")
    numbers = [line.n for line in lines]
    present = set(numbers)
    if gone := [n for n in range(1, max(present, default=0) + 1) if n not in present]:
        yield _finding(name, "deleted", f"record {_ranges(gone)} is gone")
    seen: set[int] = set()
    head = Head.start(name)
    for line in lines:
        if line.n in seen:
            yield _finding(name, "inserted", f"record {line.n} is there twice")
        elif line.n < head.records:
            yield _finding(name, "reordered", f"record {line.n} stands after record {head.records}")
        elif line.n == head.records + 1 and line.previous != head.digest:
            yield _finding(name, "inserted", f"record {line.n} does not follow record {head.records} as it stands")
        seen.add(line.n)
        head = line.head


def _against_head(name: str, lines: list[Line], signed: Head | None, text: bytes | None) -> Iterator[Finding]:
    if signed is None:
        if text is not None:
            yield _finding(name, "unsigned", "the head is not signed with this key")
        elif lines:
            yield _finding(name, "unsigned", "the signed head is gone")
        return
    last = max((line.n for line in lines), default=0)
    if last < signed.records:
        yield _finding(name, "truncated", f"{signed.records} records were signed, the last one there is {last}")
    elif signed.records and signed not in [line.head for line in lines]:
        yield _finding(name, "replaced", f"record {signed.records} is not the signed one")


def _check_anchor(name: str, anchor: Line, lines: list[Line], report: AuditReport) -> None:
    if anchor.entry["kind"] != SEALED or not lines:
        # An empty file is found by its head.
        return
    sealed = Head(records=anchor.entry["records"], digest=anchor.entry["digest"])
    if lines[-1].head != sealed:
        report.findings.append(
            _finding(name, "replaced", f"it was sealed with {sealed.records} records and another last hash")
        )


def _ranges(numbers: list[int]) -> str:
    first, last = numbers[0], numbers[-1]
    return str(first) if first == last else f"{first} to {last} ({len(numbers)} of them)"


def _finding(segment: str, what: str, message: str, *, tampering: bool = True) -> Finding:
    return Finding(segment=segment, what=what, message=message, tampering=tampering)
