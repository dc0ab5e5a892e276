"""`heliotrope audit`: who did what, and proof that nobody changed it since."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import typer

from apps.cli.output import JsonOption, console, print_json, print_rows
from cluster.clock import SystemClock
from cluster.errors import ConfigError, PermanentError
from cluster.security.audit_chain import Head, Signer
from cluster.security.audit_check import AuditReport, check_folder
from cluster.security.audit_folder import AuditFolder
from cluster.security.audit_log import AuditLog
from cluster.security.audit_read import records
from cluster.settings import Settings

app = typer.Typer(help="The audit log: requests and administrative acts.", no_args_is_help=True)


class AuditBroken(PermanentError):  # noqa: N818 - what was found, not what failed
    """The audit log is not what was written."""


@app.callback()
def audit() -> None:
    """Read and check the audit log; ML_AUDIT_DIR is its folder."""


@app.command()
def verify(
    witness: str | None = typer.Option(
        None, help="What an earlier check printed as head, from where nobody could change it."
    ),
    as_json: bool = JsonOption,
) -> None:
    """Check every hash and signature; exit code 5 where something was changed, deleted, inserted or cut off."""
    settings = Settings.from_environment()
    report = check_folder(
        settings.audit_dir,
        Signer.from_file(settings.audit_key_file),
        witness=None if witness is None else _head(witness),
    )
    if as_json:
        print_json(_told(report))
    else:
        rows = [{"segment": each.segment, "found": each.what, "what": each.message} for each in report.findings]
        print_rows(rows, title="Findings", empty="Nothing was changed, deleted, inserted or cut off.")
        console.print(
            f"{report.records} records in {report.segments} chains; head {_text(report.head)}", soft_wrap=True
        )
    if not report.whole:
        broken = [each for each in report.findings if each.tampering]
        raise AuditBroken(
            f"the audit log is not what was written: {len(broken)} findings, the first: {broken[0].segment}: "
            f"{broken[0].what}, {broken[0].message}"
        )


@app.command()
def show(
    day: str | None = typer.Option(None, help="One day, such as 2026-11-21; the whole log by default."),
    key: str | None = typer.Option(None, help="Only requests with the key of this id."),
    acts: bool = typer.Option(False, "--acts", help="Only administrative acts."),
    last: int = typer.Option(50, min=1, help="At most so many, the newest."),
    as_json: bool = JsonOption,
) -> None:
    """Show records in the order of their times."""
    folder = Settings.from_environment().audit_dir
    wanted = (
        each
        for each in records(folder, day)
        if (key is None or each.get("key") == key) and (not acts or each["kind"] == "act")
    )
    rows = list(islice(wanted, last))[::-1]
    if as_json:
        print_json(rows)
    else:
        print_rows([_row(each) for each in rows], title="Audit log", empty="Nothing is recorded.")


@contextmanager
def acting(action: str, target: str, **details: Any) -> Iterator[None]:
    """Record what a command does, before it does it and after, where ML_ENABLE_AUDIT says so."""
    settings = Settings.from_environment()
    if not settings.enable_audit:
        yield
        return
    folder = AuditFolder(
        path=settings.audit_dir,
        signer=Signer.from_file(settings.audit_key_file, create=True),
        clock=SystemClock(),
        retention_days=settings.audit_retention_days,
    )
    actor = f"cli:{getpass.getuser()}"
    with AuditLog(folder, "cli", SystemClock()) as log, log.acting(actor, action, target, **details):
        yield


def _row(record: dict[str, Any]) -> dict[str, Any]:
    if record["kind"] == "request":
        what = f"{record['method']} {record['route']} {record['status']}"
        return {"time": record["time"], "who": record["key"], "what": what, "more": record["request_id"]}
    if record["kind"] == "act":
        more = ", ".join(f"{name} {value}" for name, value in record["details"].items())
        what = f"{record['action']} {record['target']}"
        return {"time": record["time"], "who": record["actor"], "what": what, "more": more}
    facts = {name: value for name, value in record.items() if name not in ("n", "previous", "hash", "time", "kind")}
    return {"time": record.get("time", ""), "who": "", "what": record["kind"], "more": str(facts)}


def _told(report: AuditReport) -> dict[str, Any]:
    return {
        "whole": report.whole,
        "segments": report.segments,
        "records": report.records,
        "head": _text(report.head),
        "findings": [
            {"segment": each.segment, "what": each.what, "message": each.message, "tampering": each.tampering}
            for each in report.findings
        ],
    }


def _text(head: Head) -> str:
    return f"{head.records}:{head.digest}"


def _head(text: str) -> Head:
    records_, _, digest = text.partition(":")
    if not records_.isdecimal() or len(digest) != 64:
        raise ConfigError(f"witness: got '{text}', expected NUMBER:HASH as `heliotrope audit verify` prints it")
    return Head(records=int(records_), digest=digest)
