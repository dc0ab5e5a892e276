"""`heliotrope train`."""

from __future__ import annotations

import getpass

import typer

from apps.cli.bars import Bars
from apps.cli.output import JsonOption, console, print_json, print_pairs, print_rows
from cluster.settings import Settings

SOURCE = typer.Argument(
    "gas_turbine", help="A bundled sample (gas_turbine, steel_industry), or a CSV, Parquet or Arrow file."
)
TARGET = typer.Option("NOX", help="The column to forecast.")
HORIZON = typer.Option(None, min=1, help="Steps ahead; one season by default.")
SCHEMA = typer.Option(None, help="A shipped schema that the file follows (emissions, ...); inferred by default.")
TIMESTAMP = typer.Option("timestamp", help="The file's column with times.")
SERIES = typer.Option(None, help="The file's column with series ids; one series by default.")
UNIT = typer.Option("unit unknown", help="Unit of the target, where the schema is inferred.")
KNOWN = typer.Option("", help="Columns that are known over the horizon, with commas between.")
EPOCHS = typer.Option(16, min=1, help="At most so many epochs for the LSTM.")
TRIALS = typer.Option(0, min=0, help="Search so many trials first; 0 takes the default parameters.")


def names_of(text: str) -> tuple[str, ...]:
    """Return the names in a text with commas between."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def train(
    source: str = SOURCE,
    target: str = TARGET,
    horizon: int | None = HORIZON,
    schema: str | None = SCHEMA,
    timestamp: str = TIMESTAMP,
    series: str | None = SERIES,
    unit: str = UNIT,
    known: str = KNOWN,
    epochs: int = EPOCHS,
    trials: int = TRIALS,
    workers: int = typer.Option(2, min=0, help="Ray Train workers a model; 0 trains in this process without Ray."),
    owner: str = typer.Option(getpass.getuser(), help="Who answers for the version."),
    as_json: bool = JsonOption,
) -> None:
    """Train, judge on the held-out end, and register the version if it passes the gate."""
    from apps.pipelines.line import Line
    from apps.pipelines.search import Asked
    from apps.pipelines.source import load_source
    from tuning.budget import Budget

    panel = load_source(
        source, target=target, schema=schema, timestamp=timestamp, series=series, unit=unit, known=names_of(known)
    )
    with Bars() as bars, Line.open(Settings.from_environment(), workers=workers, progress=bars) as line:
        recipe = line.recipe(panel, target, horizon=horizon, epochs=epochs)
        if trials:
            recipe = line.search(panel, recipe, Asked(budget=Budget(trials=trials))).whole().improved(recipe)
        judged = line.judge(panel, recipe)
        version = line.register(judged, owner=owner)
    facts = {"model": version.name, "version": str(version.version), "stage": version.stage.value}
    facts |= {"report": str(judged.report)}
    if as_json:
        print_json(facts | {"metrics": dict(version.metrics), "gate": judged.verdict.to_json()})
        return
    print_rows(judged.figures(), title="Held-out test part", empty="")
    print_pairs(facts.items())
    console.print(f"Serve it: [bold]heliotrope up[/], then [bold]heliotrope predict {version.name}[/]")
