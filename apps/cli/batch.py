"""`heliotrope batch`: a registered model over a large Parquet data set."""

from __future__ import annotations

from dataclasses import asdict, replace

import typer

from apps.cli.bars import Bars
from apps.cli.output import JsonOption, console, print_json, print_pairs
from cluster.settings import Settings

app = typer.Typer(help="A registered model over a large Parquet data set.", no_args_is_help=True)


@app.command()
def run(
    model: str = typer.Argument(help="A registered forecaster or alarm model, see `heliotrope models list`."),
    source: str = typer.Argument(help="A Parquet file, a folder of them, or s3://bucket/prefix."),
    target: str = typer.Argument(help="Folder, or s3://bucket/prefix, for parts/, bad/ and report.json."),
    version: str | None = typer.Option(None, help="A version such as 1.0.0; the one in production by default."),
    timestamp: str = typer.Option("timestamp", help="The files' column with times."),
    series: str | None = typer.Option(None, help="The files' column with series ids; one series by default."),
    rows: int = typer.Option(200_000, min=1, help="Most rows that a worker has in memory at once."),
    workers: int = typer.Option(2, min=1, help="Ray actors, each with a model of its own."),
    here: bool = typer.Option(False, help="In this process, without Ray."),
    as_json: bool = JsonOption,
) -> None:
    """Answer for every row once: parts that are finished are skipped, so that a run that was killed goes on.

    As a Ray job: `heliotrope jobs submit -- heliotrope batch run ...`; again and again: with `--every-s`.
    """
    from apps.batch.rows import Names
    from apps.batch.run import run_here, run_on_ray
    from apps.batch.work import BatchJob
    from apps.running import find_running
    from cluster.lifecycle import Cluster
    from cluster.registry.mlflow_registry import open_registry
    from cluster.registry.version import SemanticVersion

    settings = Settings.from_environment()
    found = open_registry(settings).get(model, SemanticVersion.parse(version) if version else None)
    job = BatchJob(
        model=model,
        version=str(found.version),
        uri=found.uri,
        source=source,
        target=target,
        names=Names(time=timestamp, series=series, only=model if series is None else ""),
        most_rows=rows,
        cache_dir=str(settings.home / "cache"),
    )
    with Bars() as bars:
        if here:
            report = run_here(job, bars)
        else:
            running = find_running(settings)
            address = running.ray_address if running else settings.ray_address
            with Cluster.open(replace(settings, ray_address=address), dashboard=False):
                report = run_on_ray(job, workers=workers, progress=bars)
    if as_json:
        print_json(asdict(report))
        return
    print_pairs(asdict(report).items())
    if report.rows_bad:
        console.print(f"Rows that could not be used, with their errors: {target}/bad", soft_wrap=True)
