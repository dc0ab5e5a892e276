"""`heliotrope models`: registered versions, their figures and their origin."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import typer
from rich.markup import escape

from apps.cli.output import JsonOption, console, print_json, print_pairs, print_rows
from apps.reports.place import told_place
from cluster.registry.registry import Registry
from cluster.registry.version import ModelVersion, SemanticVersion
from cluster.settings import Settings

app = typer.Typer(help="Registered models and their versions.", no_args_is_help=True)


@app.command("list")
def list_models(as_json: bool = JsonOption) -> None:
    """List every version of every model, newest last."""
    registry = _registry()
    rows = [_row(version) for name in registry.names() for version in registry.versions(name)]
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, title="Models", empty="No models yet: run `heliotrope train`.")
        if rows:
            console.print("[bold]heliotrope models show NAME[/] says more, and where a version's report is.")


@app.command()
def show(
    name: str = typer.Argument(help="A name from `heliotrope models list`."),
    version: str | None = typer.Option(None, help="A version such as 1.0.0; the one in production by default."),
    as_json: bool = JsonOption,
) -> None:
    """Show one version: figures, origin, files."""
    found = _registry().get(name, SemanticVersion.parse(version) if version else None)
    if as_json:
        print_json(asdict(found) | {"version": str(found.version)})
        return
    lineage = found.lineage
    settings = Settings.from_environment()
    report = found.evidence.get("report", {}).get("run")
    place = {"report": told_place(settings.home, report)} if report else {}
    print_pairs((_row(found) | place).items())
    for reason in found.evidence.get("selection", ()):
        console.print(f"  - {escape(reason)}", soft_wrap=True)
    console.print("\n[bold]Figures on the test part[/]")
    print_pairs(sorted(found.metrics.items()))
    console.print("\n[bold]Origin[/]")
    print_pairs(
        [
            ("data sha256", lineage.data_digest),
            ("schema sha256", lineage.schema_digest),
            ("code", lineage.code_revision),
            ("seed", lineage.seed),
            ("libraries", ", ".join(f"{key} {value}" for key, value in lineage.libraries.items())),
        ]
    )
    console.print("\n[bold]Files[/]")
    print_pairs((name, f"sha256 {digest}") for name, digest in found.files.items())


def _registry() -> Registry:
    from cluster.registry.mlflow_registry import open_registry

    return open_registry(Settings.from_environment())


def _row(version: ModelVersion) -> dict[str, Any]:
    return {
        "name": version.name,
        "version": str(version.version),
        "stage": version.stage.value,
        "accuracy": version.metrics.get("accuracy"),
        "wape": version.metrics.get("wape"),
        "owner": version.owner,
    }
