"""`heliotrope automl`: the best model of a table in a given time, whatever the table asks for."""

from __future__ import annotations

import getpass
import re
from typing import TYPE_CHECKING, Any

import typer

from apps.cli.bars import Bars
from apps.cli.output import JsonOption, console, print_json, print_pairs, print_rows
from cluster.errors import ConfigError
from cluster.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from tuning.automl.recognise import Recognised

SHOWN = 15
"""Rows of the leaderboard that a person is shown; --json has all."""


def seconds(text: str) -> float:
    """Return the seconds that `60s`, `5m`, `1h` or a number stand for."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if match is None or not float(match[1]):
        raise ConfigError(
            f"budget: got '{text}', expected a time above 0 such as 60s, 5m or 1h", parameter="budget"
        )
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def automl(
    data: str = typer.Argument(..., help="A CSV, Parquet or Arrow file, or a bundled sample."),
    target: str | None = typer.Option(None, help="The column to predict; without one rows in time are watched."),
    task: str | None = typer.Option(
        None, help="regression, classification, forecasting or anomaly; recognised where it is not named."
    ),
    budget: str = typer.Option("60s", help="How long it may take: 60s, 5m, 1h."),
    series: str | None = typer.Option(None, help="The column of series ids, for forecasting and anomaly."),
    search: str = typer.Option("tpe", help="Searcher after the portfolio: tpe, gaussian_process or random."),
    workers: int = typer.Option(0, min=0, help="Fits at a time on Ray; 0 works in this process without Ray."),
    seed: int = typer.Option(0, min=0, help="Of everything that draws."),
    owner: str = typer.Option(getpass.getuser(), help="Who answers for the version."),
    as_json: bool = JsonOption,
) -> None:
    """Find the best model of a table in a given time, say why, and register it if it passes its gate."""
    from apps.pipelines.automl import load_table
    from tuning.automl.recognise import recognise

    budget_s = seconds(budget)
    name, frame = load_table(data)
    recognised = recognise(frame, name=name, target=target, task=task)
    if not as_json:
        console.print(f"[bold]{recognised.task}[/]")
        for reason in recognised.reasons:
            console.print(f"  - {reason}", soft_wrap=True)
    if recognised.schema is not None:
        told = _rows(frame, recognised, budget_s, search=search, workers=workers, seed=seed, owner=owner)
    else:
        told = _series(data, recognised, target, series, budget_s, owner=owner)
    if as_json:
        print_json({"task": recognised.task, "reasons": list(recognised.reasons), **told})
        return
    print_rows([_short(row) for row in told["leaderboard"][:SHOWN]], title="\nleaderboard", empty="")
    print_rows(told["figures"], title="\nOn rows held out", empty="")
    print_pairs([(key, told[key]) for key in ("why", "took", "energy", "model", "version") if key in told])


def _rows(
    frame: pd.DataFrame,
    recognised: Recognised,
    budget_s: float,
    *,
    search: str,
    workers: int,
    seed: int,
    owner: str,
) -> dict[str, Any]:
    from apps.pipelines.automl import find, ray_workers, register
    from apps.pipelines.search import energy_model
    from cluster.registry.mlflow_registry import open_registry
    from tuning.automl.automl import AutoMLSpec

    settings = Settings.from_environment()
    energy = energy_model(settings)
    spec = AutoMLSpec(budget_s=budget_s, search=search, seed=seed)
    with Bars() as bars, ray_workers(settings, workers) as hands:
        found = find(frame, recognised, spec, progress=bars, workers=hands, energy=energy)
    version = register(found, open_registry(settings), owner=owner)
    return {
        "leaderboard": [row.to_json() for row in found.result.leaderboard],
        "figures": found.judged.figures(found.name),
        "why": found.result.blending.why,
        "took": f"{found.result.elapsed_s:.1f} s of {budget_s:g} s, {found.result.tried} candidates",
        "energy": energy.told("processor seconds"),
        "model": version.name,
        "version": str(version.version),
    }


def _series(
    data: str, recognised: Recognised, target: str | None, series: str | None, budget_s: float, *, owner: str
) -> dict[str, Any]:
    from apps.pipelines.automl_series import find_alarms, find_forecaster

    settings, time = Settings.from_environment(), recognised.time or "timestamp"
    with Bars() as bars:
        if recognised.task == "anomaly":
            return find_alarms(
                data, target, time=time, series=series, settings=settings, owner=owner, progress=bars
            )
        if target is None:
            raise ConfigError("forecasting needs a target: name the column with --target", parameter="target")
        return find_forecaster(
            data,
            target,
            time=time,
            series=series,
            budget_s=budget_s,
            settings=settings,
            owner=owner,
            progress=bars,
        )


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the leaderboard that fits on a screen; --json prints all of it."""
    if "candidate" not in row:
        return row
    return {
        "candidate": row["candidate"],
        "score": row["score"],
        "weight": row["weight"],
        "fit s": row["fit_s"],
        "ms a row": row["latency_ms"],
        "kB": row["size_bytes"] / 1000,
        "mg CO2e": row["co2e_kg"] * 1e6,
    }
