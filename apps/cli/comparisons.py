"""`heliotrope experiments begin|units|compare|stop|size`: experiments between served versions."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from apps.cli.output import JsonOption, console, print_json, print_pairs, print_rows
from apps.cli.platform import EndpointOption, client_of
from cluster.errors import ConfigError, DataError

PATH = "/api/experiments"
UNITS_A_REQUEST = 5_000


def begin(
    name: str = typer.Argument(help="The experiment's id."),
    model: str = typer.Argument(help="A served model."),
    arm: list[str] = typer.Option(..., help="VERSION=SHARE; the first is the control."),
    metric: str = typer.Option(..., help="Name of the outcome that decides."),
    kind: str = typer.Option("proportion", help="proportion, mean, ratio or latency."),
    effect: float = typer.Option(..., help="Smallest difference worth finding, in the metric's unit."),
    lower_is_better: bool = typer.Option(False, help="A smaller metric is a gain."),
    cuped: bool = typer.Option(False, help="Use what `experiments units` tells of each unit: narrower intervals."),
    unit: str = typer.Option("user", help="What goes the same way every time: request, series or user."),
    traffic: float = typer.Option(1.0, help="Share of the model's units."),
    max_units: int = typer.Option(100_000, help="Units an arm at which it ends at the latest."),
    bandit: bool = typer.Option(False, help="Give the better arm more (unit request)."),
    promote: bool = typer.Option(False, help="Begin a canary of the winner."),
    endpoint: str | None = EndpointOption,
) -> None:
    """Begin an experiment between versions."""
    arms = dict(map(_arm, arm))
    better = {"higher_is_better": not lower_is_better, "cuped": cuped}
    body = {
        "id": name,
        "model": model,
        "arms": arms,
        "control": next(iter(arms)),
        "metrics": [{"name": metric, "kind": kind, "effect": effect, **better}],
        "unit": unit,
        "traffic": traffic,
        "max_units": max_units,
        "bandit": bandit,
        "promote": promote,
    }
    with client_of(endpoint) as client:
        told = client.post(PATH, body, repeatable=True).json()
    print_pairs([("experiment", name), ("shares", told["shares"]), ("units", f"slot {told['slot']}")])


def compare(
    name: str | None = typer.Argument(None, help="An experiment; all where none is named."),
    endpoint: str | None = EndpointOption,
    as_json: bool = JsonOption,
) -> None:
    """Show experiments between versions: differences with intervals that may be looked at any time."""
    with client_of(endpoint) as client:
        told = client.get(PATH if name is None else f"{PATH}/{name}").json()
    found = told["experiments"] if name is None else [told]
    if as_json:
        print_json(found)
        return
    rows = [row for each in found for row in _rows(each)]
    print_rows(rows, title="Experiments between versions", empty="None yet: `heliotrope experiments begin`.")


def stop(
    name: str = typer.Argument(help="An experiment."),
    why: str = typer.Option("", help="The reason."),
    endpoint: str | None = EndpointOption,
) -> None:
    """End an experiment by hand."""
    with client_of(endpoint) as client:
        told = client.post(f"{PATH}/{name}/stop", {"why": why}).json()
    print_pairs([("experiment", name), ("ending", told["ending"]), ("detail", told["detail"])])


def units(
    name: str = typer.Argument(help="An experiment."),
    file: Path = typer.Argument(help="CSV with the columns unit and value: what was known of each before it."),
    endpoint: str | None = EndpointOption,
) -> None:
    """Tell what was known of units before an experiment, such as last month's value of its metric (CUPED)."""
    known = _covariates(file)
    with client_of(endpoint) as client:
        for begin_ in range(0, len(known), UNITS_A_REQUEST):
            part = dict(known[begin_ : begin_ + UNITS_A_REQUEST])
            client.post(f"{PATH}/{name}/units", {"covariates": part}, repeatable=True)
    print_pairs([("experiment", name), ("units told", len(known))])


def size(
    variance: float = typer.Argument(help="Of one unit's outcome; p (1 - p) for a proportion."),
    effect: float = typer.Argument(help="Smallest difference worth finding."),
    alpha: float = typer.Option(0.05, help="Chance of a winner among equal arms."),
    power: float = typer.Option(0.8, help="Chance to find the effect."),
    units: int | None = typer.Option(None, help="Units an arm will have: tell the power instead."),
) -> None:
    """Tell how many units an arm needs, looked at once and looked at all the time."""
    from serve_deployments.experiments.design import fixed_power, fixed_size, sequential_size

    if units is not None:
        found = fixed_power(variance=variance, effect=effect, size=units, alpha=alpha)
        print_pairs([("power at one look", found)])
        return

    sizes = {"variance": variance, "effect": effect, "alpha": alpha, "power": power}
    print_pairs([("one look", fixed_size(**sizes)), ("all the time, at most", sequential_size(**sizes))])
    console.print("Units an arm, two arms of equal size.")


def add_to(app: typer.Typer) -> None:
    """Add the commands to those that show what was tried."""
    for command in (begin, units, compare, stop, size):
        app.command()(command)


def _rows(experiment: dict[str, Any]) -> list[dict[str, Any]]:
    common = {"experiment": experiment["spec"]["id"], "ending": experiment["ending"] or "going on"}
    found = [
        common
        | {key: each[key] for key in ("metric", "arm", "units", "value", "control")}
        | {"difference": f"{each['difference']:.4g} [{each['low']:.4g}, {each['high']:.4g}]", "p": each["p_value"]}
        for each in experiment["comparisons"]
    ]
    return found or [common | {"metric": "no outcome yet"}]


def _covariates(file: Path) -> list[tuple[str, float]]:
    """Return unit and value of each row; raise DataError that names the first bad one."""
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from error
    if not rows:
        raise DataError(f"{file}: got no rows, expected a header 'unit,value' and a row a unit")
    return [_covariate(row, f"{file}, line {line}") for line, row in enumerate(rows, start=2)]


def _covariate(row: Mapping[str, str], place: str) -> tuple[str, float]:
    try:
        unit, value = row["unit"], float(row["value"])
    except (KeyError, TypeError, ValueError):
        unit, value = "", math.nan
    if not unit or not math.isfinite(value):
        raise DataError(f"{place}: got {dict(row)}, expected a unit and its value, a number")
    return unit, value


def _arm(text: str) -> tuple[str, float]:
    version, _, share = text.partition("=")
    try:
        return version, float(share)
    except ValueError as error:
        raise ConfigError(f"--arm: got '{text}', expected VERSION=SHARE such as 1.0.0=0.5") from error
