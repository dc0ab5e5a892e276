"""A system from its history: chosen, fitted, asked, in Python and on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from apps.cli.main import app
from apps.operations.limits import Limit
from apps.operations.outlook import Outlook
from apps.operations.performance import QueuePlan
from apps.operations.system import System, resources
from cluster.errors import ConfigError, DataError, InsufficientHistoryError, UnknownNameError, UserError
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.data.bundled import load_sample
from training.data.operations import generate_operations

CPU, MEMORY = "cpu_util_percent", "mem_util_percent"
GOOGLE = "google2019_machine_usage"


@pytest.fixture(scope="module")
def google() -> Panel:
    """Return the first 8 days of Google's clusters."""
    panel = load_sample(GOOGLE)
    return panel.before(panel.frame["timestamp"].iloc[8 * 288])


@pytest.fixture(scope="module")
def outlook(google: Panel) -> Outlook:
    return Outlook.of_columns(google, [CPU, MEMORY], horizon=24)


@pytest.fixture(scope="module")
def service() -> Panel:
    return generate_operations(days=6, seed=0)[0]


@pytest.fixture(scope="module")
def service_file(service: Panel, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("operations") / "service.csv"
    service.frame.to_csv(path, index=False)
    return str(path)


def test_paths_keep_to_the_physical_range_and_around_the_forecast(outlook: Outlook) -> None:
    paths = outlook.paths[0]
    assert paths.columns == (CPU, MEMORY)
    assert paths.values.shape[1:] == (24, 2)
    assert ((paths.values >= 0) & (paths.values <= 100)).all()
    low, high = np.moveaxis(paths.quantiles((0.02, 0.98)), -1, 0)
    assert ((paths.point >= low) & (paths.point <= high)).all()
    assert 1 < paths.independent < len(paths.values)


def test_the_best_candidate_is_taken_and_beats_the_last_value(google: Panel) -> None:
    system = System.fit(google, [CPU, MEMORY], horizon=24)
    errors = [each.error for each in system.candidates]
    assert errors == sorted(errors)
    assert errors[0] < 1
    naive = next(each for each in system.candidates if each.params == {"season": 1})
    assert naive.error == 1


def test_nothing_after_the_history_is_looked_at(google: Panel) -> None:
    frame = google.frame.copy()
    frame.loc[frame.index[-50:], CPU] = 99.0
    cut = google.frame["timestamp"].iloc[-50]
    spoiled = Outlook.of_columns(Panel(frame, google.schema).before(cut), [CPU], horizon=6)
    clean = Outlook.of_columns(google.before(cut), [CPU], horizon=6)
    assert np.array_equal(spoiled.paths[0].values, clean.paths[0].values)


def test_columns_in_another_order_give_the_same_answers(google: Panel, outlook: Outlook) -> None:
    limits = [Limit(column=CPU, value=52), Limit(column=MEMORY, value=33)]
    turned = Outlook.of_columns(google, [MEMORY, CPU], horizon=24)
    ours, theirs = outlook.crossings(limits)[0], turned.crossings(limits[::-1])[0]
    np.testing.assert_allclose(ours.shares, theirs.shares[::-1])
    assert ours.health == pytest.approx(theirs.health)


def test_each_series_draws_on_its_own_errors() -> None:
    rng, times = np.random.default_rng(0), pd.date_range("2024-01-01", periods=300, freq="h")
    frame = pd.concat(
        [
            pd.DataFrame({"series_id": name, "timestamp": times, "load_ratio": 0.5 + rng.normal(0, spread, 300)})
            for name, spread in (("calm", 0.01), ("wild", 0.1))
        ],
        ignore_index=True,
    )
    schema = Schema(name="hosts", frequency="h", targets=(Column(name="load_ratio"),), season_length=24)
    outlook = Outlook.of_columns(Panel(frame, schema), ["load_ratio"], horizon=6)
    calm, wild = outlook.crossings([Limit.parse("load_ratio=0.65")])
    assert outlook.schema.column("load_ratio").high == 1  # by its name
    assert calm.any_probability < 0.05 < 0.3 < wild.any_probability


def test_a_short_series_is_left_out_and_the_others_are_answered(google: Panel, tmp_path: Path) -> None:
    whole = google.frame[["series_id", "timestamp", CPU]]
    short = whole.tail(30).assign(series_id="new")
    outlook = Outlook.of_columns(
        Panel(pd.concat([whole, short], ignore_index=True), google.schema.for_target(CPU)), [CPU], horizon=12
    )
    alone = Outlook.of_columns(google, [CPU], horizon=12)
    assert np.array_equal(outlook.paths[0].values, alone.paths[0].values)
    assert [each.series for each in outlook.paths] == [GOOGLE]
    assert "series 'new' is too short for the horizon: got 30 rows" in outlook.errors["new"].message
    pd.concat([whole, short]).to_csv(tmp_path / "both.csv", index=False)
    asked = [str(tmp_path / "both.csv"), "--series", "series_id", "--limit", f"{CPU}=60", "--horizon", "12"]
    assert "left out: series 'new'" in run("capacity", *asked)
    assert list(json.loads(run("health", *asked, "--json"))["errors"]) == ["new"]


def test_a_series_that_ended_long_ago_is_left_out(google: Panel) -> None:
    whole = google.frame[["series_id", "timestamp", CPU]]
    gone = whole.head(500).assign(series_id="gone")
    both = Panel(pd.concat([whole, gone], ignore_index=True), google.schema.for_target(CPU))
    outlook = Outlook.of_columns(both, [CPU], horizon=6)
    assert [each.series for each in outlook.paths] == [GOOGLE]
    assert "got 0 rows, expected at least 15 since 2019-05-05" in outlook.errors["gone"].message


def test_a_queue_and_an_error_rate_join_the_paths(service: Panel) -> None:
    plan = QueuePlan(servers=8, throughput="throughput_per_s", latency="latency_s")
    queued = Outlook.of_queue(service, CPU, plan, horizon=12)
    assert queued.paths[0].columns == (CPU, "latency_s", "throughput_per_s")
    values = queued.paths[0].values
    np.testing.assert_allclose(values[..., 2], values[..., 0] / 100 * 8 / 0.2, rtol=1e-4)
    assert (values[..., 1] >= 0.2 * 0.999).all()
    limits = [Limit.parse("latency_s=0.5"), Limit.parse("throughput_per_s>1"), Limit.parse(f"{CPU}=95")]
    assert 0 <= queued.crossings(limits)[0].health <= 100
    failing = Outlook.of_errors(service, "errors", "requests", horizon=12)
    assert failing.paths[0].columns == ("requests", "error_ratio")
    assert failing.crossings([Limit.parse("error_ratio=0.9")])[0].any_probability == 0
    assert "fail in the long run" in failing.notes[-1]


def test_a_history_that_never_moves_stays() -> None:
    times = pd.date_range("2024-01-01", periods=200, freq="h")
    frame = pd.DataFrame({"series_id": "s", "timestamp": times, "x": 5.0})
    schema = Schema(name="still", frequency="h", targets=(Column(name="x"),), season_length=24)
    outlook = Outlook.of_columns(Panel(frame, schema), ["x"], horizon=4)
    assert (outlook.paths[0].values == 5).all()
    assert outlook.crossings([Limit.parse("x=5.1")])[0].health == 100


def test_faults(google: Panel, service: Panel) -> None:
    with pytest.raises(InsufficientHistoryError, match="is too short for the horizon: got 2304 rows, expected"):
        Outlook.of_columns(google, [CPU], horizon=600)
    with pytest.raises(ConfigError, match="'horizon': got 0"):
        Outlook.of_columns(google, [CPU], horizon=0)
    with pytest.raises(UnknownNameError, match="unknown column 'cpu'"):
        Outlook.of_columns(google, ["cpu"], horizon=6)
    with pytest.raises(ConfigError, match="columns: got none"):
        resources(google, [])
    with pytest.raises(ConfigError, match=r"0 \.\. 100 % or 0 \.\. 1"):
        Outlook.of_queue(service, "requests", QueuePlan(servers=1, service_time_s=1.0), horizon=6)
    with pytest.raises(DataError, match="errors of"):
        Outlook.of_errors(service, "requests", "errors", horizon=6)


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["operations", *words])
    assert result.exit_code == 0, result.output + str(result.exception)
    return result.output


def test_capacity_bottleneck_and_health_agree(service_file: str, tmp_path: Path) -> None:
    asked = [service_file, "--limit", f"{CPU}=45", "--limit", f"{MEMORY}=48", "--horizon", "12"]
    capacity = json.loads(run("capacity", *asked, "--json", "--output", str(tmp_path / "steps.csv")))["limits"]
    bottleneck = json.loads(run("bottleneck", *asked, "--json"))
    health = json.loads(run("health", *asked, "--json"))
    any_first = bottleneck["any_probability"]["service"]
    assert sum(row["first_probability"] for row in bottleneck["limits"]) == pytest.approx(any_first)
    assert health["health"]["service"] == pytest.approx(100 * (1 - any_first))
    assert sum(row["points_lost"] for row in health["limits"]) == pytest.approx(100 * any_first)
    steps = pd.read_csv(tmp_path / "steps.csv")
    last = steps[steps["step"] == 12].set_index("resource")["probability"]
    assert last[CPU] == pytest.approx({row["resource"]: row["probability"] for row in capacity}[CPU])
    for command, said in (
        ("capacity", "Limits crossed within 12 steps"),
        ("bottleneck", "crossed first"),
        ("health", "of 100"),
    ):
        assert said in run(command, *asked)


def test_a_limit_crossed_now_is_told(service_file: str) -> None:
    output = run("capacity", service_file, "--limit", f"{CPU}=1", "--horizon", "6")
    assert "100.0%" in output
    assert "beyond its limit now" in output


def test_utilisation_performance_and_errors_print_tables(service_file: str, tmp_path: Path) -> None:
    base = [service_file, "--series", "series_id", "--horizon", "6"]
    written = tmp_path / "steps.csv"
    assert "peak" in run("utilisation", *base, "--column", CPU, "--output", str(written))
    assert len(pd.read_csv(written)) == 6
    queue = ["--utilisation", CPU, "--servers", "8"]
    assert "variability 0.5" in run(
        "performance", *base, *queue, "--service-time-s", "0.2", "--variability", "0.5", "--limit", "latency_s=0.3"
    )
    fitted = run("performance", *base, *queue, "--throughput", "throughput_per_s", "--latency", "latency_s")
    assert "0.2 s a request" in fitted
    measured = run("performance", *base, "--throughput", "throughput_per_s", "--consecutive", "2")
    assert "throughput" in measured
    failing = json.loads(run("errors", *base, "--at-most", "0.5", "--seed", "3", "--json"))
    assert failing["limits"][0]["probability"] == 0


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["capacity", GOOGLE, "--limit", "cpu=80"], UnknownNameError, "unknown column 'cpu'"),
        (["capacity", GOOGLE, "--limit", f"{CPU}=180"], DataError, "outside what the column can be"),
        (["capacity", GOOGLE, "--limit", CPU], ConfigError, "expected column=number"),
        (["health", GOOGLE, "--limit", f"{CPU}=80", "--horizon", "3000"], InsufficientHistoryError, "8064 rows"),
        (["performance", GOOGLE], ConfigError, "got no column and no servers"),
        (["performance", GOOGLE, "--utilisation", CPU, "--servers", "2"], ConfigError, "needs its service time"),
        (["errors", GOOGLE, "--at-most", "2"], DataError, "got 2, expected 0 .. 1"),
        (["errors", GOOGLE], UnknownNameError, "unknown column 'errors'"),
    ],
)
def test_faults_are_one_line(words: list[str], error: type[UserError], message: str) -> None:
    result = CliRunner().invoke(app, ["operations", *words])
    assert isinstance(result.exception, error)
    assert message in str(result.exception)
