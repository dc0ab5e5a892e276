"""`heliotrope whatif` and `heliotrope explain`: what is asked of a fitted model beyond a forecast."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape

from apps.cli.bars import Bars
from apps.cli.output import JsonOption, console, print_json, print_rows
from cluster.errors import ConfigError
from cluster.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

MODEL = typer.Argument(help="A name from `heliotrope models list`, or an artifact's folder.")
SOURCE = typer.Argument(help="A bundled sample, or a CSV, Parquet or Arrow file: the history.")
FUTURE = typer.Option(None, help="A file with what is known ahead; the source's last rows by default.")
VERSION = typer.Option(None, help="A version such as 1.0.0; the one in production by default.")
TIMESTAMP = typer.Option("timestamp", help="The files' column with times.")
SERIES = typer.Option(None, help="The files' column with series ids.")
SEED = typer.Option(0, min=0, help="Of all random draws.")
OUTPUT = typer.Option(None, help="Write a row a step to this CSV file too.")


def whatif(
    model: str = MODEL,
    source: str = SOURCE,
    scenario: list[str] = typer.Option(
        help="'name: change; change', e.g. 'up: production_units*=1.1; renewable_kwh=0.6*energy_kwh'. Repeatable."
    ),
    future: Path | None = FUTURE,
    version: str | None = VERSION,
    timestamp: str = TIMESTAMP,
    series: str | None = SERIES,
    draws: int = typer.Option(100, min=2, help="Models fitted again to say how sure the difference is."),
    range_limit: float = typer.Option(0.25, min=0, help="How far outside a driver's seen range, in its widths."),
    combination_limit: float = typer.Option(
        3.0, min=1, help="How unusual drivers may be together, in usual distances."
    ),
    seed: int = SEED,
    output: Path | None = OUTPUT,
    as_json: bool = JsonOption,
) -> None:
    """Forecast scenarios: what changes against the baseline, over the horizon, and how sure that is."""
    from apps.pipelines.fitted import Fitted, Situation
    from training.inference.evidence import Limits
    from training.inference.scenarios import Scenario
    from training.inference.what_if import what_if

    scenarios = [Scenario.parse(text) for text in scenario]
    fitted = Fitted.open(model, Settings.from_environment(), version=version)
    asked = Situation.load(source, fitted, future=future, timestamp=timestamp, series=series)
    with Bars() as bars:
        found = what_if(
            fitted.forecaster,
            asked.history,
            asked.future,
            scenarios,
            limits=Limits(range_share=range_limit, combination_ratio=combination_limit),
            count=draws,
            seed=seed,
            tell=lambda family, done, count: bars.update(
                f"fit {family} again", done, count, f"{done} of {count} draws"
            ),
        )
    flags = [flag.text() for response in found.responses for flag in response.flags]
    totals = _with_units(found.totals(), fitted.units())
    if output:
        found.to_frame().to_csv(output, index=False)
    if as_json:
        print_json({"model": fitted.name, "totals": _records(totals), "extrapolations": flags})
        return
    console.print(f"Differences from the baseline over {fitted.span()}, by {escape(fitted.name)}", soft_wrap=True)
    for (name, target, measured), rows in totals.groupby(["scenario", "target", "unit"], sort=False):
        shown = [_difference(row) for row in _records(rows)]
        print_rows(shown, title=f"\n{name}: {target} in {measured}, all steps together", empty="")
    for text in flags:
        console.print(f"[yellow]beyond what was seen:[/] {escape(text)}", soft_wrap=True)
    _say_written(output)


def explain(
    model: str = MODEL,
    source: str = SOURCE,
    future: Path | None = FUTURE,
    version: str | None = VERSION,
    timestamp: str = TIMESTAMP,
    series: str | None = SERIES,
    group: list[str] = typer.Option([], help="'driver=column,column': columns that shall be one. Repeatable."),
    top: int = typer.Option(8, min=1, help="Drivers shown of each forecast, the largest first."),
    sampled: bool = typer.Option(False, help="Sample even where the model can be taken apart exactly."),
    pairs: int = typer.Option(64, min=2, help="Orders of drivers drawn where contributions are sampled."),
    seed: int = SEED,
    output: Path | None = OUTPUT,
    as_json: bool = JsonOption,
) -> None:
    """Say which drivers made the forecast what it is, over the whole horizon."""
    from apps.pipelines.fitted import Fitted, Situation
    from training.core.validation import ID
    from training.inference.factors import key_factors

    groups = dict(_group(text) for text in group)
    fitted = Fitted.open(model, Settings.from_environment(), version=version)
    asked = Situation.load(source, fitted, future=future, timestamp=timestamp, series=series)
    found = key_factors(
        fitted.forecaster,
        asked.history,
        asked.future,
        groups=groups,
        pairs=pairs,
        seed=seed,
        sampled=sampled,
    )
    totals = found.totals().groupby([ID, "target"], sort=False).head(top)
    totals = _with_units(totals, fitted.units())
    if output:
        found.to_frame().to_csv(output, index=False)
    if as_json:
        print_json({"model": fitted.name, "exact": found.exact, "factors": _records(totals)})
        return
    how = "exact" if found.exact else f"sampled, {pairs} pairs of orders"
    console.print(f"What made the next {fitted.span()}, by {escape(fitted.name)} ({how})", soft_wrap=True)
    steps, place = fitted.forecaster.horizon, {name: n for n, name in enumerate(found.ids)}
    for (name, target, measured), rows in totals.groupby([ID, "target", "unit"], sort=False):
        usual, point = (
            float(values[place[str(name)], :, found.targets.index(str(target))].mean())
            for values in (found.base, found.point)
        )
        title = f"\n{name}: {target} is usually {usual:.4g} {measured}; here {point:.4g} on average, because of"
        shown = [_factor(row, steps, exact=found.exact) for row in _records(rows)]
        print_rows(shown, title=title, empty="No driver moves this forecast.")
    _say_written(output)


def _difference(row: dict[str, Any]) -> dict[str, Any]:
    """Return one series' answer to a scenario as a person reads it."""
    ends = {float(name[1:]): row[name] for name in row if name.startswith("q0.")}
    low, high, base = min(ends), max(ends), row["baseline"]
    return {
        "series": row["series_id"],
        "baseline": base,
        "difference": f"{row['difference']:+.4g}",
        "change": f"{row['difference'] / abs(base):+.1%}" if base else "",
        f"{high - low:.0%} interval": f"{ends[low]:+.4g} .. {ends[high]:+.4g}",
        "evidence": "beyond it" if row["extrapolates"] else "as seen",
    }


def _factor(row: dict[str, Any], steps: int, *, exact: bool) -> dict[str, Any]:
    """Return one driver's part as a person reads it: the mean of the steps, in the target's unit."""
    told = {
        "driver": row["driver"],
        "adds on average": f"{row['contribution'] / steps:+.4g}",
        "share of all that moved it": f"{row['share']:.1%}",
    }
    return told if exact else told | {"standard error": row["standard_error"] / steps}


def _say_written(output: Path | None) -> None:
    if output:
        console.print(f"Written to {output}", soft_wrap=True)


def _group(text: str) -> tuple[str, Sequence[str]]:
    driver, sign, columns = text.partition("=")
    names = tuple(name.strip() for name in columns.split(",") if name.strip())
    if not sign or not driver.strip() or not names:
        raise ConfigError(f"a group cannot be read: got '{text}', expected 'driver=column,column'", got=text)
    return driver.strip(), names


def _with_units(totals: pd.DataFrame, units: dict[str, str]) -> pd.DataFrame:
    """Return the table with the target's unit beside the target."""
    totals = totals.copy()
    totals.insert(list(totals.columns).index("target") + 1, "unit", totals["target"].map(units))
    return totals


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a dict a row, of plain Python values."""
    records: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=12))
    return records
