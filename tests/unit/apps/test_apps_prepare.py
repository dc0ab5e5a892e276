"""`heliotrope prepare`: what it tells, what it writes, what it refuses; and that training takes what it wrote."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from apps.cli.main import app
from apps.pipelines.features import judge_features
from apps.pipelines.preparing import RawTable
from apps.pipelines.source import load_source
from apps.reports.words import step_in_words, steps_in_words
from cluster.errors import (
    ConfigError,
    DataError,
    HeliotropeError,
    InsufficientHistoryError,
    SchemaError,
    UnknownNameError,
)
from training.core.schema import Column, Schema
from training.data.preparation import Preparation, prepare

ZONE = "Europe/Berlin"


@pytest.fixture
def shell(home: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("ML_HOME", str(home))
    return CliRunner()


def meter(days: int = 90, start: str = "2023-09-01") -> pd.DataFrame:
    """An hourly meter on Berlin's wall clock, autumn's doubled hour within: a text column beside it."""
    times = pd.date_range(start, periods=24 * days, freq="h", tz=ZONE)
    hours, rng = np.arange(len(times)), np.random.default_rng(3)
    outside = 10 + 5 * np.sin(hours / 24 * 2 * np.pi) + rng.normal(0, 1, len(times))
    kwh = 100 + 20 * np.sin(hours / 24 * 2 * np.pi) + outside + rng.normal(0, 1, len(times))
    local = times.tz_localize(None).strftime("%Y-%m-%d %H:%M")
    return pd.DataFrame({"date": local, "kwh": kwh.round(2), "outside": outside.round(2), "note": "x"})


def spoiled() -> pd.DataFrame:
    """Five hours lost, three values missing, one absurd, one unit changed for the last third, two rows swapped."""
    frame = meter()
    frame.loc[100:102, "kwh"] = np.nan
    frame.loc[400, "kwh"] = 5000.0
    frame.loc[1440:, "kwh"] /= 1000
    frame = frame.drop(index=range(600, 605)).reset_index(drop=True)
    return frame.iloc[[1, 0, *range(2, len(frame))]]


def saved(frame: pd.DataFrame, folder: Path, name: str = "meter.csv") -> str:
    frame.to_csv(folder / name, index=False)
    return str(folder / name)


def asked(source: str, *more: str) -> list[str]:
    return ["prepare", source, "--target", "kwh", "--timestamp", "date", "--unit", "kWh", *more]


def steps(told: dict[str, Any]) -> dict[tuple[str, str], int]:
    return {(each["step"], each["column"]): each["count"] for each in told["findings"]}


def test_every_fault_is_told_with_its_place(shell: CliRunner, tmp_path: Path) -> None:
    source = saved(spoiled(), tmp_path)
    result = shell.invoke(app, asked(source, "--zone", ZONE))
    assert result.exit_code == 0, result.output
    for words in (
        f"{source}: 2,155 rows in, 2,160 out",
        "a row each hour",
        "left out",
        "order",
        "2 rows (0.09%)",
        "in the hour that autumn doubles: told apart by order",
        "outliers   kwh: 1 cell (0.05%), on 2023-09-17 14:00: flagged, as they were",
        "the unit changes by a factor of 0.001",
        "gaps       kwh: 8 cells (0.37%), 5 in a row at most",
        "gaps       outside: 5 cells",
    ):
        assert words in result.output


def test_what_is_mended_is_written_and_marked(shell: CliRunner, tmp_path: Path) -> None:
    source, out = saved(spoiled(), tmp_path), tmp_path / "clean.parquet"
    more = ("--zone", ZONE, "--units", "convert", "--outliers", "winsorise", "--country", "DE", "--out", str(out))
    result = shell.invoke(app, asked(source, *more, "--json"))
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    assert told["written"] == {"table": str(out), "features": None}
    assert told["looks_ahead"] == ["outliers=winsorise", "units=convert"]
    assert told["left_out"] == ["note"]
    assert steps(told)["gaps", "kwh"] == 8
    frame = pd.read_parquet(out)
    true = meter()
    assert (frame["timestamp"].diff().dropna() == pd.Timedelta(hours=1)).all()
    assert len(frame) == len(true)
    assert np.abs(frame["kwh"] - true["kwh"]).max() < 80
    assert frame["kwh_filled"].sum() == 8
    assert frame["kwh_outlying"].sum() == 1
    local = frame["timestamp"].dt.tz_localize("UTC").dt.tz_convert(ZONE)
    assert set(local[frame["holiday"] == 1].dt.strftime("%m-%d")) == {"10-03"}
    assert (frame["holiday"] == 1).sum() == 24


def test_training_reads_what_was_written(shell: CliRunner, tmp_path: Path) -> None:
    """The marks are no numbers: nothing learns from them, and what is known ahead is said by its name."""
    out = tmp_path / "clean.csv"
    result = shell.invoke(
        app, asked(saved(spoiled(), tmp_path), "--zone", ZONE, "--country", "DE", "--out", str(out))
    )
    assert result.exit_code == 0, result.output
    panel = load_source(str(out), target="kwh", known=["holiday"])
    assert panel.schema.names == ("kwh", "outside", "holiday")
    assert panel.schema.known_names == ("holiday",)
    assert panel.series == ("meter",)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_clean_sample_has_nothing_to_tell_of_gaps(shell: CliRunner) -> None:
    result = shell.invoke(app, ["prepare", "steel_industry", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    assert told["rows_in"] == told["rows_out"] == 35_040
    assert {step for step, _ in steps(told)} <= {"outliers"}


def test_a_long_gap_parts_a_series(shell: CliRunner, tmp_path: Path) -> None:
    source = saved(meter(start="2023-05-01", days=60).drop(index=range(500, 560)), tmp_path)
    told = json.loads(shell.invoke(app, asked(source, "--json")).output)
    assert told["series"] == ["meter", "meter/2"]
    assert steps(told)["split", ""] == 60
    refused = shell.invoke(app, asked(source, "--beyond", "refuse"))
    assert isinstance(refused.exception, DataError)
    assert "a gap is too long: column 'kwh': got 60 rows" in refused.exception.message


@pytest.mark.parametrize(
    ("suffix", "words"), [(".html", "tells most about kwh 24 hours later"), (".json", '"kept"')]
)
def test_features_are_judged_and_written(shell: CliRunner, tmp_path: Path, suffix: str, words: str) -> None:
    source, page = saved(meter(start="2023-05-01", days=60), tmp_path), tmp_path / f"features{suffix}"
    result = shell.invoke(app, asked(source, "--features", str(page), "--keep", "9"))
    assert result.exit_code == 0, result.output
    assert re.search(r"\n9 of \d\d features are kept, judged by rows before 2023-06-11", result.output)
    text = page.read_text()
    assert words in text
    assert "outside*outside" in text
    if suffix == ".json":
        told = json.loads(text)
        assert len(told["kept"]) == 9
        assert "kwh" in told["kept"]
        assert {"mutual_information", "correlation_kwh", "reason"} <= set(told["features"][0])


def test_features_are_judged_by_the_training_part_alone() -> None:
    from training.data.generator import generate_emissions

    panel = generate_emissions(sites=1, days=300, seed=0)[0]
    judged = judge_features(panel, "scope1", horizon=7)
    late = panel.frame["timestamp"] >= judged.until
    assert late.mean() == pytest.approx(0.3, abs=0.01)
    changed = panel.frame.copy()
    changed.loc[late, "scope1"] *= 3
    again = judge_features(type(panel)(changed, panel.schema), "scope1", horizon=7)
    pd.testing.assert_frame_equal(judged.table, again.table)
    assert len(judged.kept) <= 50
    with pytest.raises(ConfigError, match="keep: got 0"):
        judge_features(panel, "scope1", horizon=7, keep=0)


def bad(**changed: Any) -> pd.DataFrame:
    frame = meter(start="2023-05-01", days=20).astype({"kwh": object})
    for name, (row, value) in changed.items():
        frame.loc[row, name] = value
    return frame


REFUSED: dict[str, tuple[pd.DataFrame, list[str], type[HeliotropeError], str]] = {
    "a word in the target": (bad(kwh=(3, "much")), [], DataError, "a value is not a number: column 'kwh', row 5"),
    "no such time": (bad(date=(3, "31.5.2023")), [], DataError, "a timestamp is not a time"),
    "infinite": (bad(kwh=(3, "inf")), [], DataError, "a value is infinite"),
    "no target": (bad(), ["--target", "mwh"], SchemaError, "a column is missing: column 'mwh'"),
    "no times": (bad(), ["--timestamp", "when"], SchemaError, "expected the column that --timestamp names, once"),
    "no series": (bad(), ["--series", "site"], SchemaError, "expected the column that --series names, once"),
    "half a zone": (
        bad(date=(3, "2023-05-01 03:00+02:00")),
        ["--zone", ZONE],
        DataError,
        "some times name a zone and some do not: column 'timestamp', row 2",
    ),
    "a doubled hour without a zone": (meter(), [], DataError, "or the zone, if this is the hour"),
    "gaps": (bad(), ["--gaps", "guess"], ConfigError, "gaps: got 'guess', expected refuse, linear"),
    "outliers": (bad(), ["--outliers", "delete"], ConfigError, "outliers: got 'delete', expected leave, flag"),
    "zone": (bad(), ["--zone", "Mars/Base"], ConfigError, "zone: got 'Mars/Base'"),
    "country": (bad(), ["--country", "XX"], UnknownNameError, "unknown country 'XX'"),
    "step": (bad(), ["--step", "fortnight"], ConfigError, "step: got 'fortnight', expected a pandas offset"),
    "step back": (bad(), ["--step", "-1h"], ConfigError, "step: got '-1h'"),
    "another step": (bad(), ["--step", "2h"], DataError, "another step"),
    "drop": (bad(), ["--drop", "nothing"], UnknownNameError, "unknown column 'nothing'"),
    "schema": (bad(), ["--schema", "nowhere"], UnknownNameError, "unknown schema 'nowhere'"),
    "out": (bad(), ["--out", "clean.xlsx"], ConfigError, "out: got 'clean.xlsx', expected a name that ends in"),
    "features": (
        bad(),
        ["--features", "f.pdf"],
        ConfigError,
        "features: got 'f.pdf', expected a name that ends",
    ),
    "features of little": (
        bad().head(60),
        ["--features", "f.json"],
        InsufficientHistoryError,
        "the training part is too short for the features: got 42 rows",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_rubbish_is_one_exact_error(
    shell: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    frame, more, kind, words = REFUSED[fault]
    source = saved(frame, tmp_path)
    monkeypatch.chdir(tmp_path)
    result = shell.invoke(app, asked(source, *more))
    assert type(result.exception) is kind, result.output
    assert words in result.exception.message
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["meter.csv"]


def test_features_need_a_target_and_a_source_must_be(shell: CliRunner) -> None:
    result = shell.invoke(app, ["prepare", "gas_turbine", "--features", "f.html"])
    assert isinstance(result.exception, ConfigError)
    assert "expected --target" in result.exception.message
    assert isinstance(shell.invoke(app, ["prepare", "no_such_sample"]).exception, UnknownNameError)
    assert isinstance(shell.invoke(app, ["prepare", "no_such.csv"]).exception, DataError)


def test_a_shipped_schema_loses_what_is_dropped() -> None:
    raw = RawTable.load("gas_turbine", drop=["CO", "AT"])
    assert isinstance(raw.schema, Schema)
    assert raw.schema.target_names == ("NOX",)
    assert "AT" not in raw.schema.names
    assert raw.left_out == ("CO", "AT")
    with pytest.raises(ConfigError, match="expected a target to be left"):
        RawTable.load("gas_turbine", drop=["CO", "NOX"])


@pytest.mark.parametrize(
    ("count", "frequency", "words"),
    [
        (24, "h", "24 hours"),
        (1, "D", "1 day"),
        (96, "15min", "24 hours"),
        (7, "5min", "35 minutes"),
        (2, "2W-SUN", "2 times 2 weeks"),
        (12, "MS", "12 months"),
        (4, "W-SUN", "4 weeks"),
    ],
)
def test_spans_in_words(count: int, frequency: str, words: str) -> None:
    assert steps_in_words(count, frequency) == words
    assert step_in_words("h") == "hour"


def test_holidays_are_of_the_local_date_on_either_clock(shell: CliRunner, tmp_path: Path) -> None:
    source = saved(meter(), tmp_path)
    marked = []
    for clock in ("utc", "standard"):
        out = tmp_path / f"{clock}.parquet"
        more = ("--zone", ZONE, "--clock", clock, "--country", "DE", "--out", str(out))
        assert shell.invoke(app, asked(source, *more)).exit_code == 0
        marked.append(pd.read_parquet(out))
    utc, standard = marked
    assert (standard["timestamp"] - utc["timestamp"] == pd.Timedelta(hours=1)).all()
    assert utc["holiday"].tolist() == standard["holiday"].tolist()
    assert utc.loc[utc["holiday"] == 1, "timestamp"].min() == pd.Timestamp("2023-10-02 22:00")


def test_times_that_name_their_offset_as_text_are_moved_once() -> None:
    frame = meter(days=20)
    times = pd.date_range("2023-09-01", periods=len(frame), freq="h", tz=ZONE)
    schema = Schema(name="m", frequency="h", season_length=24, targets=(Column(name="kwh"),))
    texts = frame.assign(timestamp=times.map(pd.Timestamp.isoformat).astype(object))
    moved = prepare(texts, schema, Preparation(zone=ZONE)).panel.frame["timestamp"]
    assert (moved.to_numpy() == times.tz_convert("UTC").tz_localize(None).to_numpy()).all()
