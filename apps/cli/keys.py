"""`heliotrope keys`: who may use the API."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer

from apps.cli.audit import acting
from apps.cli.output import JsonOption, console, print_json, print_rows
from cluster.clock import SystemClock
from cluster.errors import ConfigError
from cluster.security.api_key import ApiKey
from cluster.security.identity import Scope
from cluster.security.key_file import KeyFile
from cluster.security.key_ring import REFRESH_S
from cluster.security.records import KeyRecord, iso
from cluster.security.roles import Role, permission_named, role_named
from cluster.settings import Settings

app = typer.Typer(help="Keys of the API.", no_args_is_help=True)
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@app.callback()
def keys() -> None:
    """Manage keys of the API; ML_API_KEYS_FILE names the file with their hashes."""


@app.command()
def create(
    name: str = typer.Argument(help="Whom the key belongs to."),
    role: str = typer.Option("predictor", help=f"One of {', '.join(Role)}; each may do what the one before may."),
    permission: list[str] = typer.Option([], help="Only this, of what the role may do; repeat for more."),
    model: list[str] = typer.Option([], help="Only models of this name or pattern; repeat for more."),
    route: list[str] = typer.Option([], help="Only routes of this template or pattern; repeat for more."),
    lasts: str | None = typer.Option(None, help="Expires after this time: 90d, 12h, 30m."),
    as_json: bool = JsonOption,
) -> None:
    """Make a key and print it, this once; its hash goes into the key file."""
    scope = Scope(
        permissions=frozenset(permission_named(each) for each in permission),
        models=tuple(model),
        routes=tuple(route),
    )
    store, wanted, lasts_s = key_file(), role_named(role), None if lasts is None else seconds_of(lasts)
    with acting("keys.create", name, role=role):
        key = store.change(
            lambda book: book.create(name, wanted, now_s=SystemClock().now_s(), scope=scope, lasts_s=lasts_s)
        )
    _show(key, store.path, as_json, f"The key of '{name}', id {key.key_id}.")


@app.command(name="list")
def list_keys(as_json: bool = JsonOption) -> None:
    """List the keys: ids, owners, roles, states; never a key."""
    now_s = SystemClock().now_s()
    rows = [_row(record, now_s) for record in key_file().read().records.values()]
    if as_json:
        print_json(rows)
    else:
        short = [
            {key: _minute(row[key]) if key in ("created", "expires") else row[key] for key in row} for row in rows
        ]
        print_rows(short, title="Keys (times in UTC)", empty="No keys yet: heliotrope keys create NAME")


@app.command()
def rotate(
    key_id: str = typer.Argument(help="As `heliotrope keys list` shows it."),
    overlap: str = typer.Option("24h", help="How long the old key works beside the new one: 7d, 12h, 0s."),
    as_json: bool = JsonOption,
) -> None:
    """Give a key a new secret, and print it; the old one works a while longer."""
    store, overlap_s = key_file(), seconds_of(overlap)
    with acting("keys.rotate", key_id, overlap_s=overlap_s):
        key = store.change(lambda book: book.rotate(key_id, now_s=SystemClock().now_s(), overlap_s=overlap_s))
    _show(key, store.path, as_json, f"The new secret of key {key_id}; the old one works for {overlap} more.")


@app.command()
def revoke(key_id: str = typer.Argument(help="As `heliotrope keys list` shows it.")) -> None:
    """Let a key open nothing any more."""
    store = key_file()
    with acting("keys.revoke", key_id):
        store.change(lambda book: (book.revoke(key_id, now_s=SystemClock().now_s()), None))
    console.print(f"Key {key_id} is revoked: every replica refuses it within {REFRESH_S:g} s.")


def key_file() -> KeyFile:
    """Return the key file that the settings name; raise ConfigError where they name none."""
    path = Settings.from_environment().api_keys_file
    if path is None:
        raise ConfigError(
            "no key file: got nothing in ML_API_KEYS_FILE, expected the path of a file; it may be new"
        )
    return KeyFile(path)


def seconds_of(text: str) -> float:
    """Return the seconds of `90d`, `12h`, `30m` or `45s`."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if not found:
        raise ConfigError(f"time: got '{text}', expected a whole number with s, m, h or d, such as 90d", got=text)
    return float(found[1]) * _UNITS_S[found[2]]


def _row(record: KeyRecord, now_s: float) -> dict[str, Any]:
    scope = record.scope
    return {
        "id": record.key_id,
        "name": record.name,
        "role": str(record.role),
        "only": ", ".join([*sorted(scope.permissions), *scope.models, *scope.routes]),
        "state": record.state(now_s),
        "created": iso(record.secrets[0].created_s),
        "expires": iso(record.expires_s),
    }


def _minute(time: str | None) -> str:
    """Return a time as a person reads it."""
    return time[:16].replace("T", " ") if time else ""


def _show(key: ApiKey, path: Path, as_json: bool, what: str) -> None:
    if as_json:
        print_json({"id": key.key_id, "key": key.text, "file": path})
    else:
        console.print(
            f"{key.text}\n\n{what} It is stored as a hash in {path} and cannot be shown again.", soft_wrap=True
        )
