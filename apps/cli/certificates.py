"""`heliotrope certificates`: TLS on one's own machine."""

from __future__ import annotations

from pathlib import Path

import typer

from apps.cli.output import console


def certificates(
    folder: Path = typer.Argument(help="Where to; files of the same names are replaced."),
    host: list[str] = typer.Option(
        ["localhost", "127.0.0.1"], help="Name or address of the server; repeat for more."
    ),
) -> None:
    """Make a certificate for development, good for 90 days and for both sides of a connection."""
    from cluster.security.certificates import AUTHORITY, make_development_certificates

    make_development_certificates(folder.absolute(), host)
    console.print(
        f"tls.crt, tls.key and ca.crt are in {folder}. Servers: ML_TLS_DIR={folder}, ML_RAY_TLS_DIR={folder}; "
        f"clients: ML_CA_FILE={folder / AUTHORITY}",
        soft_wrap=True,
    )
