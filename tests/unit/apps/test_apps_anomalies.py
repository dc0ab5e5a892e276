"""`heliotrope anomalies`: what it finds, tells and remembers, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from apps.anomaly.detect import Asked, detect
from apps.anomaly.detection import COLUMNS
from apps.anomaly.train import fit_and_judge
from apps.cli.main import app
from apps.pipelines.serving import served_model
from apps.pipelines.watching import load_watched
from apps.reports.anomalies import anomaly_page
from cluster.errors import (
    ConfigError,
    DataError,
    GateRefused,
    HeliotropeError,
    InsufficientHistoryError,
    UnknownNameError,
)
from cluster.registry.mlflow_registry import open_registry
from cluster.settings import Settings
from training.alarms.alarm_model import ALARM_MODELS, AlarmModel
from training.alarms.evidence import Factor
from training.alarms.quiet import Maintenance
from training.alarms.recipe import AlarmRecipe
from training.alarms.scorer import Scorer
from training.alarms.series_alarms import panel_of
from training.alarms.usual import Usual, phases_of
from training.core.artifact import load_artifact
from training.detectors.z_score import ZScore
from training.evaluation.alarm_budget import Budget

ROWS = 2_000
SURGE = slice(1_500, 1_506)
QUICK = ["--detector", "moving_average"]


def meter(seed: int = 0, rows: int = ROWS) -> pd.DataFrame:
    """An hourly meter with a surge in its second half, and the temperature beside it."""
    rng, hours = np.random.default_rng(seed), np.arange(rows)
    kwh = 100 + 20 * np.sin(hours / 24 * 2 * np.pi) + rng.normal(0, 2, rows)
    kwh[SURGE] += 80
    times = pd.date_range("2024-01-01", periods=rows, freq="h")
    return pd.DataFrame({"timestamp": times, "kwh": kwh, "outside": rng.normal(10, 1, rows)})


def saved(frame: pd.DataFrame, folder: Path, name: str = "meter.csv") -> str:
    frame.to_csv(folder / name, index=False)
    return str(folder / name)


@pytest.fixture
def shell(home: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("ML_HOME", str(home))
    monkeypatch.setattr("apps.anomaly.train.code_revision", lambda: "0" * 40)  # a subprocess may not run here
    return CliRunner()


def run(shell: CliRunner, *words: str) -> Result:
    done = shell.invoke(app, ["anomalies", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def told(shell: CliRunner, *words: str) -> Any:
    return json.loads(run(shell, *words, "--json").stdout)


@pytest.mark.parametrize("detector", ["ensemble", "z_score"])
def test_the_surge_is_the_worst_alarm(shell: CliRunner, tmp_path: Path, detector: str) -> None:
    frame = meter()
    source = saved(frame, tmp_path)
    found = told(shell, "detect", source, "--target", "kwh", "--unit", "kWh", "--detector", detector)
    (facts,) = found["series"]
    assert (facts["learned_rows"], facts["judged_rows"]) == (1_000, 1_000)
    worst = found["alarms"][0]
    # to the row, though pieces of a day or two see it from far
    assert pd.Timestamp(worst["start"]) == frame["timestamp"][SURGE.start]
    assert pd.Timestamp(worst["end"]) == frame["timestamp"][SURGE.stop - 1]
    assert worst["factors"][0]["value"] > worst["factors"][0]["high"]
    assert worst["impacts"][0]["unit"] == "kWh"
    assert worst["rating"]["reason"]
    assert worst["actions"]
    assert len(found["alarms"]) <= 1 + 1.5 * max(1.0, facts["months"])
    assert bool(facts["members"]) == (detector == "ensemble")


def test_no_row_is_scored_by_who_was_fitted_on_it(tmp_path: Path) -> None:
    """A surge in one quarter is as strange as one in rows that nobody learned from."""
    panel = load_watched(saved(meter(), tmp_path), targets=["kwh"])
    panel.frame.loc[300:305, "kwh"] += 80
    budget = Budget(step_s=3_600)
    scorer, known = Scorer.fit(panel_of(panel, slice(0, 1_000)), ZScore, lambda _: budget)
    late = scorer.score(panel).values[SURGE]
    assert known.values[300:306].min() == pytest.approx(late.min(), rel=0.25)


def test_members_are_told_on_one_scale(tmp_path: Path) -> None:
    panel = load_watched(saved(meter(), tmp_path), targets=["kwh"])
    (series,) = detect(panel, Asked()).series
    weights = {say["member"]: say["weight"] for say in series.says}
    assert sum(weights.values()) == pytest.approx(1.0)
    assert set(series.members) == set(weights)
    mean = sum(weights[name] * each for name, each in series.members.items())
    np.testing.assert_allclose(series.scores, mean)
    assert np.nanmedian(series.scores) < 2.0 < np.nanmax(series.scores)


def test_what_people_say_is_kept_and_counts(shell: CliRunner, tmp_path: Path) -> None:
    source = saved(meter(), tmp_path)
    words = ("detect", source, "--target", "kwh", *QUICK)
    first = told(shell, *words)["alarms"][0]
    assert told(shell, "dismiss", first["id"], "--by", "ana", "--note", "a test run")["alarms_factor"] == 0.5
    assert told(shell, "dismiss", first["id"], "--by", "ana")["alarms_factor"] == 1.0
    again = told(shell, *words)
    assert again["series"][0]["alarms_factor_by_feedback"] == pytest.approx(0.5)
    assert again["alarms"][0]["level"] > first["level"]
    assert "feedback lets 0.5 times the alarms through" in run(shell, *words).stdout
    listed = told(shell, "list", "--series", "meter")
    assert {row["outcome"] for row in listed["events"] if row["event"] == first["id"]} == {"dismissed"}
    assert "dismissed by ana" in listed["changes"][0]["what"]
    assert told(shell, "confirm", first["id"], "--by", "ana")["alarms_factor"] > 1
    assert "a test run" not in run(shell, "list", "--series", "other").stdout


def test_tables_for_people_and_for_files(shell: CliRunner, tmp_path: Path) -> None:
    source, output = saved(meter(), tmp_path), tmp_path / "events.csv"
    text = run(shell, "detect", source, "--target", "kwh", "--beside", "outside", *QUICK, "--output", str(output))
    assert "meter: learned from 1,000 rows, judged 1,000" in text.stdout
    assert "normal" in text.stdout
    table = pd.read_csv(output)
    assert tuple(table.columns) == COLUMNS
    assert table["event"][0] in text.stdout
    assert table["event"][0] in run(shell, "list").stdout


def test_threshold_and_gap_are_the_users(shell: CliRunner, tmp_path: Path) -> None:
    frame = meter()
    frame.loc[1_510:1_515, "kwh"] += 80
    words = ("detect", saved(frame, tmp_path), "--target", "kwh", "--detector", "z_score", "--threshold", "sigma")
    apart, joined = (told(shell, *words, "--gap", gap)["alarms"][0] for gap in ("3600", "36000"))
    assert apart["start"] == joined["start"]
    assert apart["end"] < joined["end"]
    done = shell.invoke(app, ["anomalies", *words[:-1], "magic"])
    assert isinstance(done.exception, UnknownNameError)
    assert "Known: adaptive, conformal, peaks, sigma" in done.exception.message


def test_nobody_is_told_of_maintenance(shell: CliRunner, tmp_path: Path) -> None:
    source = saved(meter()[["timestamp", "kwh"]], tmp_path)
    window = "met*,2024-03-03,2024-03-05,turbine wash"
    quiet = told(shell, "detect", source, *QUICK, "--maintenance", window)
    assert {event["status"] for event in quiet["quieted"]} == {"maintenance"}
    assert quiet["quieted"][0]["status_reason"] == "turbine wash"


def test_your_own_rules_say_what_to_do(shell: CliRunner, tmp_path: Path) -> None:
    book = tmp_path / "book.toml"
    book.write_text('version = 1\n[[rule]]\nname = "mine"\ncolumns = ["kwh"]\nactions = ["Ring Ada"]\n')
    found = told(shell, "detect", saved(meter(), tmp_path), "--target", "kwh", *QUICK, "--rules", str(book))
    assert found["alarms"][0]["actions"] == [{"text": "Ring Ada", "rule": "mine"}]


def test_a_series_that_cannot_be_judged_does_not_stop_the_others(shell: CliRunner, tmp_path: Path) -> None:
    frames = [meter().assign(site="a"), meter(1).assign(site="flat", kwh=5.0), meter(2).assign(site="b")]
    source = saved(pd.concat(frames), tmp_path)
    found = told(shell, "detect", source, "--target", "kwh", "--series", "site", *QUICK)
    assert [each["series"] for each in found["series"]] == ["a", "b"]
    assert "never changes" in found["errors"]["flat"]
    text = run(shell, "detect", source, "--target", "kwh", "--series", "site", *QUICK).stdout
    assert "flat could not be judged" in text


def test_gaps_and_missing_values_may_be_there(tmp_path: Path) -> None:
    frame = meter().drop(index=range(300, 340))
    frame.loc[100:110, "kwh"] = np.nan
    (series,) = detect(
        load_watched(saved(frame, tmp_path), targets=["kwh"]), Asked(recipe=AlarmRecipe(detector="z_score"))
    ).series
    assert any(event.factors[0].value > 150 for event in series.alarms)


def test_a_page_and_a_picture(shell: CliRunner, tmp_path: Path) -> None:
    frames = [meter().assign(site="a"), meter(1).assign(site="flat", kwh=5.0), meter(2).assign(site="<b>")]
    source, page = saved(pd.concat(frames), tmp_path), tmp_path / "page.html"
    words = ("detect", source, "--target", "kwh", "--series", "site")
    assert "Written: report" in run(shell, *words, *QUICK, "--report", str(page)).stdout
    text = page.read_text()
    assert text.count("data:image/png;base64,") == 1 + 2 * 2
    assert "flat could not be judged: series &#x27;flat&#x27; never changes" in text
    assert "<b>" not in text
    assert "<script" not in text
    picture = tmp_path / "worst.png"
    run(shell, *words, *QUICK, "--report", str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_page_shows_who_judged_and_what_was_kept_quiet(tmp_path: Path) -> None:
    panel = load_watched(saved(meter(), tmp_path), targets=["kwh"])
    wash = Maintenance(series="*", start=pd.Timestamp("2024-02-28"), end=pd.Timestamp("2024-03-09"), reason="wash")
    text = anomaly_page(source="meter.csv", found=detect(panel, Asked(maintenance=[wash])))
    assert "Who judged" in text
    assert "it judges pieces, and rows" in text
    assert "Kept quiet" in text
    assert "wash" in text


def test_labels_that_would_cover_each_other_are_on_lines_of_their_own() -> None:
    from apps.reports.anomaly_plots import lines_apart

    assert lines_apart([5.0, 1.0, 1.5, 2.5, 1.9], width=1.0) == [0, 0, 1, 0, 2]
    assert lines_apart([], width=1.0) == []


def test_a_picture_without_an_alarm(tmp_path: Path) -> None:
    panel = load_watched(saved(meter().head(1_400), tmp_path), targets=["kwh"])
    found = detect(panel, Asked(recipe=AlarmRecipe(detector="z_score", alarms_per_month=0.01)))
    assert found.alarms == ()
    assert "0 alarms from 1 series" in anomaly_page(source="meter.csv", found=found)


def test_rows_that_are_usual_themselves_are_not_of_the_event() -> None:
    panel = load_watched("steel_industry", targets=["energy_kwh"])
    table = panel.table
    usual, rows = Usual.fit(panel_of(panel, slice(0, 2_000))), slice(2_100, 2_140)
    values = table.rows[:2_200].copy()
    values[rows] = usual.profile[phases_of(table.times[rows], usual.step_s, usual.season)]
    assert usual.narrowed(values, table.times, rows) == rows
    values[2_110] += 4 * usual.scale
    values[2_113] = np.nan
    assert usual.narrowed(values, table.times, rows) == slice(2_110, 2_114)


@pytest.mark.parametrize(
    ("value", "text"), [(20.384, "20.38"), (17_890.4, "17,890"), (-123_456.0, "-123,456"), (1e-7, "1e-07")]
)
def test_figures_are_read_as_they_are(value: float, text: str) -> None:
    factor = Factor(column="kwh", unit="kWh", share=1.0, deviation=9.0, value=value, low=0.0, high=1.0)
    assert factor.sentence() == f"kwh {text} kWh, normal 0 .. 1 kWh (100%)"


def spoiled(fault: str) -> pd.DataFrame:
    frame = meter()[["timestamp", "kwh"]]
    if fault == "constant":
        frame["kwh"] = 5.0
    elif fault == "nothing":
        frame["kwh"] = np.nan
    elif fault == "text":
        frame["kwh"] = frame["kwh"].astype(object)
        frame.loc[70, "kwh"] = "oops"
    elif fault == "few":
        frame = frame.head(90)
    elif fault == "huge":
        frame.loc[100, "kwh"] = 1e300
    elif fault == "clock":
        frame.loc[500, "timestamp"] = frame["timestamp"][490]
    return frame


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        ("constant", DataError, "series 'meter' never changes: column 'kwh': got 5"),
        ("nothing", DataError, "a column has no value: column 'kwh'"),
        ("text", DataError, "a value is not a number: column 'kwh', row 72: got 'oops'"),
        (
            "few",
            InsufficientHistoryError,
            "got 28 scores, expected at least 50.*the first 45 teach what is normal",
        ),
        ("huge", DataError, r"too large to be measured: column 'kwh', row 100: got 1e\+300"),
        ("clock", DataError, "the clock runs backwards or stands still: column 'timestamp', row 500"),
    ],
)
def test_rubbish_is_refused_by_name(tmp_path: Path, fault: str, kind: type[HeliotropeError], message: str) -> None:
    with pytest.raises(kind, match=message):
        detect(load_watched(saved(spoiled(fault), tmp_path)), Asked(recipe=AlarmRecipe(detector="moving_average")))


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        (["--budget", "0"], ConfigError, "'budget': got 0.0"),
        (["--learn", "1"], ConfigError, "'learn': got 1.0"),
        (["--detector", "foo"], UnknownNameError, "unknown detector 'foo'. Known: autoencoder"),
        (["--target", "foo"], DataError, "a column is missing: column 'foo'"),
        (["--target", "kwh", "--beside", "foo"], UnknownNameError, "unknown column 'foo'"),
        (["--target", "kwh", "--beside", "kwh"], ConfigError, "'kwh': got it 2 times"),
        (["--maintenance", "x"], ConfigError, "expected SERIES,START,END,REASON"),
        (["--maintenance", "x,y,z,w"], ConfigError, "expected times"),
        (["--output", "x.txt"], ConfigError, "ends in .csv"),
        (["--report", "x.pdf"], ConfigError, "ends in .html or .png"),
        (["--timestamp", "when"], DataError, "column 'when'"),
    ],
)
def test_options_are_refused_by_name(
    shell: CliRunner, tmp_path: Path, words: list[str], kind: type[HeliotropeError], message: str
) -> None:
    done = shell.invoke(app, ["anomalies", "detect", saved(meter(), tmp_path), *words])
    assert isinstance(done.exception, kind)
    assert message in done.exception.message


def test_nobody_knows_the_event(shell: CliRunner) -> None:
    done = shell.invoke(app, ["anomalies", "confirm", "nope"])
    assert isinstance(done.exception, UnknownNameError)
    assert "No events yet" in run(shell, "list").stdout


def test_a_sample_has_its_own_targets() -> None:
    panel = load_watched("steel_industry", beside=["co2_tco2"])
    assert panel.schema.target_names == ("energy_kwh",)
    assert Usual.fit(type(panel)(panel.frame.head(500), panel.schema)).names == ("energy_kwh", "co2_tco2")


def test_a_trained_model_is_a_registered_version(shell: CliRunner, tmp_path: Path, home: Path) -> None:
    frames = [meter(seed).assign(site=name) for seed, name in enumerate("ab")]
    for frame in frames:
        frame.loc[SURGE.start : SURGE.stop - 1, "kwh"] -= 80  # all is as usual
    source = saved(pd.concat(frames), tmp_path)
    words = (source, "--target", "kwh", "--series", "site", "--unit", "kWh", "--detector", "moving_average")
    made = told(shell, "train", *words, "--online", "--name", "meters", "--budget", "4", "--owner", "ana")
    assert (made["version"], made["series"], made["judged_rows"]) == ("1.0.0", 2, 1_200)
    assert made["alarms"] <= made["alarms_at_most"]
    version = open_registry(Settings.from_environment()).get("meters")
    assert (version.stage.value, version.owner) == ("production", "ana")
    assert version.evidence["evaluation"]["judged_rows"] == 1_200
    assert version.evidence["approval"]["because"] == "kept its budget on later rows"
    folder = open_registry(Settings.from_environment()).fetch(version, tmp_path / "fetched")
    model, manifest = load_artifact(folder, ALARM_MODELS)
    assert (model.series, model.online, manifest.model) == (("a", "b"), True, "alarm_model")
    assert served_model(version).kind == "anomalies"
    (tmp_path / "in").mkdir()
    pd.read_csv(source).to_parquet(tmp_path / "in" / "0.parquet", index=False)
    done = shell.invoke(
        app,
        [
            "batch",
            "run",
            "meters",
            str(tmp_path / "in"),
            str(tmp_path / "out"),
            "--series",
            "site",
            "--here",
            "--json",
        ],
    )
    report = json.loads(done.stdout)
    assert (report["kind"], report["rows_out"], report["rows_bad"]) == ("anomalies", 4_000, 0)


def test_a_model_that_floods_is_refused_unless_somebody_says_why(tmp_path: Path) -> None:
    frame = meter()
    frame.loc[1_700:, "kwh"] += 300 * (frame.index[1_700:] % 37 == 0)
    panel = load_watched(saved(frame, tmp_path), targets=["kwh"])
    judged = fit_and_judge(AlarmModel(detector="z_score"), panel)
    with pytest.raises(GateRefused, match=r"strange, expected at most 1%|alarms on later rows, expected at most"):
        judged.require()
    assert judged.require("a fault in March")["because"] == "a fault in March"
