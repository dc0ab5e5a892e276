"""`heliotrope select` in this process: what it prints, what it keeps, what it registers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from apps.cli.main import app
from apps.pipelines.choose import COMPLEXITY, Asked, choose, families_for
from apps.pipelines.progress import Silent
from cluster.errors import ConfigError, InsufficientHistoryError, UnknownNameError
from training.core.panel import Panel
from training.evaluation.rolling import RollingPlan
from training.models import MODELS


@pytest.fixture
def shell(home: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("ML_HOME", str(home))
    return CliRunner()


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four hourly meters, two with a daily season and two that wander."""
    rng = np.random.default_rng(1)
    hours = np.arange(700)
    frames = []
    for number in range(4):
        wave = 20 * np.sin(hours / 24 * 2 * np.pi) + rng.normal(0, 2, len(hours))
        y = 100 + (wave if number < 2 else rng.normal(0, 1, len(hours)).cumsum())
        times = pd.date_range("2024-01-01", periods=len(hours), freq="h")
        frames.append(pd.DataFrame({"meter": f"m{number}", "date": times, "kwh": y.round(3)}))
    path = tmp_path_factory.mktemp("data") / "meters.csv"
    pd.concat(frames).to_csv(path, index=False)
    return path


def words(csv: Path, *more: str) -> list[str]:
    given = ["select", str(csv), "--target", "kwh", "--timestamp", "date", "--series", "meter", "--horizon", "12"]
    return [*given, "--cutoffs", "4", "--families", "seasonal_naive,seasonal_mean,ridge", "--workers", "0", *more]


def test_it_prints_a_table_and_reasons_for_each_kind_of_series(shell: CliRunner, csv: Path, home: Path) -> None:
    result = shell.invoke(app, words(csv))
    assert result.exit_code == 0, result.output
    assert "seasonal: 2 series" in result.output
    assert "plain: 2 series" in result.output
    assert "on 4 of 4 cut-offs, by" in result.output
    assert len(list((home / "backtests").glob("*.npz"))) == 2 * 4 * 3


def test_a_second_run_repeats_nothing_and_says_so(shell: CliRunner, csv: Path) -> None:
    first = shell.invoke(app, words(csv, "--json"))
    again = shell.invoke(app, words(csv, "--json"))
    assert "24 kept from before" in again.output
    assert json.loads(first.stdout) == json.loads(again.stdout)
    told = json.loads(first.stdout)
    assert {choice["group"] for choice in told["choices"]} == {"seasonal", "plain"}
    assert all(choice["reasons"] for choice in told["choices"])


def test_one_group_may_be_asked_for(shell: CliRunner, csv: Path) -> None:
    result = shell.invoke(app, words(csv, "--json", "--groups", "one", "--measure", "wape", "--no-refit"))
    told = json.loads(result.stdout)
    assert [choice["group"] for choice in told["choices"]] == ["all"]
    assert told["measure"] == "wape"


def test_words_that_mean_nothing_are_refused(shell: CliRunner, csv: Path) -> None:
    assert isinstance(shell.invoke(app, words(csv, "--groups", "all")).exception, ConfigError)
    assert isinstance(shell.invoke(app, words(csv, "--measure", "mape")).exception, ConfigError)
    unknown = shell.invoke(app, [*words(csv), "--families", "ridge,wizard"]).exception
    assert isinstance(unknown, UnknownNameError)
    assert "'wizard'" in unknown.message


def test_each_single_family_has_its_place() -> None:
    assert set(COMPLEXITY) == set(MODELS) - {"ensemble"}


def test_windows_are_what_the_series_can_fill(hourly: Panel) -> None:
    plan = RollingPlan(horizon=6, cutoffs=3)
    params = {family.label: dict(family.params) for family in families_for(COMPLEXITY, hourly, plan)}
    assert list(params) == list(COMPLEXITY)
    assert params["ridge"] == {"window": 162}
    assert params["theta"] == {"window": 168, "season": 24}
    assert params["seasonal_mean"] == {"season": 24, "seasons": 4}
    short = Panel(hourly.frame.groupby("series_id").head(60), hourly.schema)
    params = {family.label: dict(family.params) for family in families_for(COMPLEXITY, short, plan)}
    assert params["ridge"] == {"window": 9}
    assert params["theta"] == {"window": 21, "season": 1}
    shorter = Panel(hourly.frame.groupby("series_id").head(40), hourly.schema)
    with pytest.raises(InsufficientHistoryError, match="expected 32 or more"):
        families_for(COMPLEXITY, shorter, plan)


def test_long_series_are_fitted_once_and_short_ones_at_each_cutoff(hourly: Panel) -> None:
    asked = Asked(horizon=3, cutoffs=2)
    short = Panel(hourly.frame.groupby("series_id").head(60), hourly.schema)
    assert not asked.plan(hourly).refit
    assert asked.plan(short).refit
    assert Asked(horizon=3, cutoffs=2, refit=True).plan(hourly).refit


def test_columns_known_ahead_are_used(hourly: Panel, tmp_path: Path) -> None:
    asked = Asked(families=("seasonal_naive", "ridge"), horizon=6, cutoffs=3, grouping="one")

    def error(panel: Panel) -> float:
        selection = choose(panel, asked, folder=tmp_path, workers=0, progress=Silent())
        return next(score.score for score in selection.choices[0].scores if score.family == "ridge")

    frame = hourly.frame.assign(AT=hourly.frame["NOX"] / 10)
    plain = Panel(frame, hourly.schema)
    assert error(plain.with_roles(known=("AT",))) < 0.5 * error(plain)
