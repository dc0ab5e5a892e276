"""The console script `heliotrope`."""

from __future__ import annotations

import os
import sys

import typer

from apps.cli import (
    anomalies,
    ask,
    audit,
    automl,
    batch,
    cache,
    certificates,
    comparisons,
    demo,
    experiments,
    jobs,
    keys,
    models,
    operations,
    placement,
    platform,
    predict,
    prepare,
    rollouts,
    selection,
    studies,
    training,
    tuning,
)
from apps.cli.output import exit_code, print_error
from cluster.errors import HeliotropeError

app = typer.Typer(
    name="heliotrope",
    help="Forecast, explain, watch and reduce emissions and the load of systems, on Ray.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command()(demo.demo)
app.command()(platform.up)
app.command()(prepare.prepare)
app.command()(training.train)
app.command()(tuning.tune)
app.command()(selection.select)
app.command()(automl.automl)
app.command()(platform.serve)
app.command()(placement.placement)
app.command()(predict.predict)
app.command()(ask.whatif)
app.command()(ask.explain)
app.command()(platform.status)
app.command()(platform.health)
app.command()(platform.metrics)
app.command()(rollouts.deploy)
app.command()(rollouts.promote)
app.command()(rollouts.rollback)
app.add_typer(rollouts.app, name="deployments")
app.add_typer(operations.app, name="operations")
app.add_typer(anomalies.app, name="anomalies")
app.add_typer(batch.app, name="batch")
app.add_typer(cache.app, name="cache")
app.add_typer(models.app, name="models")
comparisons.add_to(experiments.app)
app.add_typer(experiments.app, name="experiments")
app.add_typer(studies.app, name="studies")
app.add_typer(jobs.app, name="jobs")
app.add_typer(keys.app, name="keys")
app.add_typer(audit.app, name="audit")
app.command()(certificates.certificates)


def main() -> None:
    """Run the command line; an error of ours becomes one line and its exit code."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # see cluster.lifecycle; read when xgboost or torch loads
    try:
        app()
    except HeliotropeError as error:
        print_error(error)
        sys.exit(exit_code(error))


if __name__ == "__main__":
    main()
