"""A model over a data set: every row once, whatever is killed; bad rows beside the others, with their errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from apps.batch.kinds import AlarmBatch, ForecastBatch
from apps.batch.parts import DataSet, Part
from apps.batch.rows import ERROR, FILE, ROW, Names, sort_rows
from apps.batch.run import parts_of, run_here
from apps.batch.work import BatchJob, BatchWorker
from cluster.errors import ConfigError, DataError, SchemaError
from training.alarms.alarm_model import AlarmModel
from training.core.artifact import save_artifact
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.splits import chronological_split
from training.core.validation import ID, TIME
from training.models.ensemble import Ensemble

SCHEMA = Schema(name="meters", frequency="h", targets=(Column(name="kwh", unit="kWh"),))
ROWS, LEARNED = 1_200, 600


def meters(rows: int = ROWS) -> pd.DataFrame:
    """Two series, row by row in turn, as a log has them."""
    rng, hours = np.random.default_rng(0), np.arange(rows)
    frames = []
    for name in "ab":
        kwh = 100 + 20 * np.sin(hours / 24 * 2 * np.pi) + rng.normal(0, 2, rows)
        kwh[1_000:1_004] += 80
        frames.append(
            pd.DataFrame({"meter": name, "at": pd.date_range("2024-01-01", periods=rows, freq="h"), "kwh": kwh})
        )
    return pd.concat(frames).sort_values(["at", "meter"], ignore_index=True)


def by_series(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename(columns={"meter": ID, "at": TIME}).sort_values(ID, kind="stable", ignore_index=True)


@pytest.fixture(scope="module")
def alarms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frame = (
        meters(LEARNED).rename(columns={"meter": ID, "at": TIME}).sort_values(ID, kind="stable", ignore_index=True)
    )
    model = AlarmModel(detector="moving_average", detector_params={"window": 24}).fit(Panel(frame, SCHEMA))
    folder = tmp_path_factory.mktemp("model") / "alarms"
    save_artifact(model, SCHEMA, folder)
    return folder


@pytest.fixture
def job(alarms: Path, tmp_path: Path) -> BatchJob:
    source = tmp_path / "in"
    source.mkdir()
    frame = meters()
    for part, (start, stop) in enumerate([(0, 1_000), (1_000, 2_400)]):
        frame.iloc[start:stop].to_parquet(source / f"{part}.parquet", row_group_size=200, index=False)
    return BatchJob(
        model="meters",
        version="1.0.0",
        uri=str(alarms),
        source=str(source),
        target=str(tmp_path / "out"),
        names=Names(time="at", series="meter"),
        most_rows=500,
        cache_dir=str(tmp_path / "cache"),
    )


def output(job: BatchJob, folder: str = "parts") -> pd.DataFrame:
    parts = [pd.read_parquet(path) for path in sorted(Path(job.target, folder).glob("*.parquet"))]
    return pd.concat(parts, ignore_index=True).sort_values([FILE, ROW], ignore_index=True)


def test_parts_are_row_groups_with_what_leads_in(job: BatchJob) -> None:
    parts = parts_of(job, job.kind())
    assert [(part.path, part.row, part.rows) for part in parts] == [
        ("0.parquet", 0, 400), ("0.parquet", 400, 400), ("0.parquet", 800, 200),
        ("1.parquet", 0, 400), ("1.parquet", 400, 400), ("1.parquet", 800, 400), ("1.parquet", 1_200, 200),
    ]  # fmt: skip
    assert parts[3].lead == parts[2].__class__(**(vars(parts[2]) | {"lead": None}))
    assert Part.from_json(parts[3].to_json()) == parts[3]
    data = DataSet(job.source)
    assert len({data.digest(part) for part in parts}) == len(parts)


def test_every_row_is_answered_once(job: BatchJob) -> None:
    report = run_here(job)
    out = output(job)
    assert (report.parts, report.rows, report.rows_out, report.rows_bad) == (7, 2_400, 2_400, 0)
    assert not out.duplicated([FILE, ROW]).any()
    assert not out.duplicated([ID, TIME]).any()
    alarmed = out[out["alarm"] & (out[TIME] >= "2024-02-01")]
    assert set(alarmed[TIME]) <= set(pd.date_range("2024-02-11 16:00", periods=4, freq="h"))
    assert set(alarmed[ID]) == {"a", "b"}
    assert alarmed["severity"].notna().all()


def test_parts_score_as_the_whole_does(job: BatchJob, alarms: Path) -> None:
    run_here(job)
    kind = job.kind()
    assert isinstance(kind, AlarmBatch)
    rows = meters()
    own = rows[rows["meter"] == "a"].rename(columns={"meter": ID, "at": TIME}).reset_index(drop=True)
    whole = kind.model.of("a").scorer.score(Panel(own, SCHEMA)).values
    out = output(job)
    np.testing.assert_allclose(out[out[ID] == "a"].sort_values(TIME)["score"], whole)


@pytest.mark.parametrize("after", [0, 1, 3, 6])
def test_a_run_that_was_killed_goes_on(job: BatchJob, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever write is the last one: the next run does the rest, and every row is there once."""
    parts, worker = parts_of(job, job.kind()), BatchWorker(job)
    for part in parts[:after]:
        worker.do(part)

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", cut_off)  # killed between the file aside and its name
        with pytest.raises(KeyboardInterrupt):
            worker.do(parts[after])
    report = run_here(job)
    assert (report.parts_skipped, report.rows) == (after, 2_400 - sum(part.rows for part in parts[:after]))
    assert not output(job).duplicated([FILE, ROW]).any()
    assert len(output(job)) == 2_400
    assert run_here(job).parts_skipped == 7


def test_other_rows_or_another_model_are_other_parts(job: BatchJob) -> None:
    parts, kind = parts_of(job, job.kind()), job.kind()
    names = [BatchWorker(job, kind).name_of(part) for part in parts]
    newer = BatchWorker(replace(job, version="1.0.1"), kind)
    assert not {newer.name_of(part) for part in parts} & set(names)
    frame = pd.read_parquet(Path(job.source, "0.parquet"))
    frame["kwh"] = frame["kwh"].where(frame.index != 999, 0.0)
    frame.to_parquet(Path(job.source, "0.parquet"), row_group_size=200, index=False)
    again = [BatchWorker(job, kind).name_of(part) for part in parts_of(job, kind)]
    # the part with the row, and the one that it leads in
    assert [place for place, (old, new) in enumerate(zip(names, again, strict=True)) if old != new] == [2, 3]


def test_bad_rows_are_beside_with_their_errors(job: BatchJob) -> None:
    frame = pd.read_parquet(Path(job.source, "0.parquet")).astype({"kwh": object, "at": object})
    frame["kwh"] = frame["kwh"].astype(str)
    frame["at"] = frame["at"].astype(str)
    frame.loc[10, "kwh"] = "oops"
    frame.loc[20, "kwh"] = "1e300"
    frame.loc[30, "at"] = "never"
    frame["at"] = frame["at"].where(frame.index != 40, frame["at"][4])
    frame.loc[50, "meter"] = None
    frame.loc[60, "meter"] = "z"
    frame.loc[70, "kwh"] = None
    frame.to_parquet(Path(job.source, "0.parquet"), row_group_size=200, index=False)
    report = run_here(job)
    bad, out = output(job, "bad"), output(job)
    told = dict(zip(bad[ROW], bad[ERROR], strict=True))
    assert set(told) == {10, 20, 30, 40, 50, 60}
    assert told[10] == "column 'kwh': got 'oops', expected a number or nothing"
    assert told[20].endswith("got '1e300', expected a number from -1e+100 to 1e+100")
    assert told[30].startswith("column 'at': got 'never', expected a time")
    assert "expected a time after" in told[40]
    assert told[50] == "column 'meter': got nothing, expected an id"
    assert told[60] == "unknown series 'z'. Known: a, b"
    assert (report.rows, report.rows_bad, report.rows_out) == (2_400, 6, 2_394)
    assert len(out) + len(bad) == 2_400
    assert np.isnan(out[(out[FILE] == "0.parquet") & (out[ROW] == 70)]["score"]).all()


def test_a_forecaster_answers_for_each_series(tmp_path: Path) -> None:
    panel = Panel(by_series(meters(400)), SCHEMA)
    model = Ensemble(members=[{"name": "seasonal_naive", "params": {"season": 24}}], features=[])
    model.fit_panel(panel, horizon=6, split=chronological_split(panel))
    save_artifact(model, SCHEMA, tmp_path / "model")
    rows = meters(100)
    short = rows[(rows["meter"] == "b")].tail(3).assign(meter="c")
    (tmp_path / "in").mkdir()
    pd.concat([rows, short]).to_parquet(tmp_path / "in" / "0.parquet", index=False)
    job = BatchJob(
        model="load",
        version="1.0.0",
        uri=str(tmp_path / "model"),
        source=str(tmp_path / "in" / "0.parquet"),
        target=str(tmp_path / "out"),
        names=Names(time="at", series="meter"),
        cache_dir=str(tmp_path / "cache"),
    )
    assert isinstance(job.kind(), ForecastBatch)
    report = run_here(job)
    (path,) = Path(job.target, "parts").glob("*.parquet")
    out = pd.read_parquet(path)
    assert (report.rows_out, set(out["series_id"])) == (12, {"a", "b"})
    assert out["timestamp"].min() == rows["at"].max() + pd.Timedelta("1h")
    (path,) = Path(job.target, "bad").glob("*.parquet")
    assert pd.read_parquet(path)[ERROR].str.contains("too short: got 3 rows").all()


def test_text_times_zones_and_one_series() -> None:
    import pyarrow as pa

    when = ["2024-01-01T00:00:00+01:00", "2024-01-01T01:00:00+01:00", ""]
    table = pa.table({"when": when, "kwh": [1, None, 3]})
    told = sort_rows(table, Names(time="when", series=None, only="m"), ["kwh"], file="x", first_row=7)
    assert told.good[TIME].tolist() == [pd.Timestamp("2023-12-31 23:00"), pd.Timestamp("2024-01-01 00:00")]
    assert (told.good[ID].unique().tolist(), told.good[ROW].tolist(), told.bad[ROW].tolist()) == (
        ["m"],
        [7, 8],
        [9],
    )


def spoil(job: BatchJob, how: str) -> BatchJob:
    if how == "none":
        return replace(job, source=job.source + "-not")
    path = Path(job.source, "0.parquet")
    if how == "empty":
        for each in Path(job.source).iterdir():
            each.unlink()
    elif how == "torn":
        path.write_bytes(path.read_bytes()[:100])
    else:
        pd.read_parquet(path).drop(columns="kwh").to_parquet(path)
    return job


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("none", ConfigError, "where nothing is, expected a Parquet file"),
        ("empty", ConfigError, r"without a \.parquet file"),
        ("torn", DataError, r"0\.parquet cannot be read"),
        ("column", SchemaError, r"0\.parquet: a column is missing: column 'kwh'"),
    ],
)
def test_a_data_set_that_cannot_be_read(
    job: BatchJob, how: str, kind: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=message):
        run_here(spoil(job, how))
    assert not Path(job.target).exists()
