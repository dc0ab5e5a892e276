"""`heliotrope keys`: who may use the API."""

from __future__ import annotations

import typer

from apps.cli.output import JsonOption, console, print_json
from cluster.errors import ConfigError
from cluster.security.keys import ROLES, create_key
from cluster.settings import Settings

app = typer.Typer(help="Keys of the API.", no_args_is_help=True)


@app.callback()
def keys() -> None:
    """Manage keys of the API; ML_API_KEYS_FILE names the file with their hashes."""


@app.command()
def create(
    identity: str = typer.Argument(help="Whom the key belongs to."),
    role: list[str] = typer.Option(list(ROLES), help=f"Out of {', '.join(ROLES)}; repeat for more."),
    as_json: bool = JsonOption,
) -> None:
    """Make a key and print it, this once; its hash goes into the key file."""
    path = Settings.from_environment().api_keys_file
    if path is None:
        raise ConfigError(
            "no key file: got nothing in ML_API_KEYS_FILE, expected the path of a file; it may be new"
        )
    key = create_key(path, identity, role)
    if as_json:
        print_json({"identity": identity, "roles": role, "key": key, "file": path})
    else:
        console.print(
            f"{key}\n\nThe key of '{identity}'. It is stored as a hash in {path} and cannot be shown again."
        )
