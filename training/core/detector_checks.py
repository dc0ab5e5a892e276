"""The exam that every detector of a catalog sits: what the contract promises, tried."""

from __future__ import annotations

import json
import pickle
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from cluster.errors import (
    ConfigError,
    DataError,
    HeliotropeError,
    InsufficientHistoryError,
    NotFittedError,
    SchemaError,
    UnknownNameError,
)
from training.core.artifact import from_bytes, load_artifact, save_artifact, to_bytes
from training.core.candidate import WatchedRunner
from training.core.component import build
from training.core.detector import DetectorTags
from training.core.detector_candidate import SCHEMA, SIZES, STRANGE, DetectorCandidate, cut_out
from training.core.exam import Check, CheckFailed, expect, refused
from training.core.panel import Panel
from training.core.scores import Scores
from training.core.space import Choice
from training.core.validation import ID, TIME
from training.core.windows import Floats

CLOSE = 1e-6
"""Share of the largest score that another order of summation, or another size of a product, may differ by."""
FIRST = "plant-0"
REACHED = 0.9
"""Share of pairs of a strange and a usual row in which the strange one must score higher."""


def same(got: Floats, expected: Floats) -> bool:
    """Return whether scores agree, NaN where NaN, to within `CLOSE` of the largest."""
    if got.shape != expected.shape or not np.array_equal(np.isnan(got), np.isnan(expected)):
        return False
    largest = float(np.nanmax(np.abs(expected), initial=0.0))
    return bool(np.nanmax(np.abs(got - expected), initial=0.0) <= CLOSE * largest)


def tags_of(candidate: DetectorCandidate) -> DetectorTags:
    """Return the tags; a detector has those of detectors."""
    tags = candidate.kind.tags
    if not isinstance(tags, DetectorTags):
        raise CheckFailed(f"'{candidate.name}' is tagged {tags}, not by DetectorTags")
    return tags


# -- parameters ------------------------------------------------------------------------------------------------


def params_round_trip(candidate: DetectorCandidate) -> None:
    """Parameters build the same detector again, also after a trip through JSON; misspelt ones are refused."""
    params = candidate.make().params()
    stored = from_bytes(to_bytes(params))
    for given in (params, stored):
        rebuilt = build(candidate.catalog, candidate.name, given).params()
        expect(
            json.dumps(rebuilt, sort_keys=True) == json.dumps(params, sort_keys=True), f"not rebuilt from {given}"
        )
    refused(ConfigError, lambda: candidate.make(no_such_parameter=1), names="no_such_parameter")


def search_space_is_buildable(candidate: DetectorCandidate) -> None:
    """Both ends of every dimension are accepted by the constructor."""
    for name, dimension in candidate.kind.search_space().items():
        ends = dimension.values if isinstance(dimension, Choice) else (dimension.low, dimension.high)
        for end in ends:
            candidate.make(**{name: end})


def not_fitted_is_an_error(candidate: DetectorCandidate) -> None:
    """Before `fit` there are no scores, no stream and no state."""
    fresh = candidate.make()
    refused(NotFittedError, lambda: fresh.score(candidate.later), names=candidate.name)
    refused(NotFittedError, lambda: fresh.state_of(FIRST), names=candidate.name)
    expect(fresh.state() == {}, "it has a state before it is fitted")


# -- scores ----------------------------------------------------------------------------------------------------


def one_score_a_row(candidate: DetectorCandidate) -> None:
    """Each row has a score in its place; only the first rows of a series may have none."""
    scores = candidate.detector.score(candidate.later)
    expect(len(scores) == len(candidate.later), f"{len(scores)} scores for {len(candidate.later)} rows")
    expect(scores.series == candidate.later.series, f"series {scores.series}")
    expect(np.array_equal(scores.to_frame()[TIME], candidate.later.frame[TIME]), "the times differ")
    for series in scores.series:
        known = np.isfinite(scores.of(series))
        back = candidate.detector.lookback(candidate.detector.state_of(series))
        expect(bool(known[back:].all()), f"'{series}' has rows without a score after the first {back}")


def strange_rows_score_higher(candidate: DetectorCandidate) -> None:
    """Rows that are turned about and lifted score higher than nine of ten others."""
    scores = candidate.detector.score(candidate.later)
    for series in scores.series:
        values = scores.of(series)
        strange = np.zeros(len(values), dtype=bool)
        strange[STRANGE] = True
        usual = values[~strange & np.isfinite(values)]
        share = float((values[strange][:, None] > usual).mean())
        expect(share >= REACHED, f"'{series}': strange rows score higher in {share:.2f} of the pairs")


def series_keep_to_themselves(candidate: DetectorCandidate) -> None:
    """Other series in the panel do not change the scores of one."""
    together = candidate.detector.score(candidate.later)
    for series in together.series:
        alone = candidate.detector.score(cut_out(candidate.later, candidate.later.frame[ID] == series))
        expect(same(alone.values, together.of(series)), f"'{series}' differs when alone")


def input_is_not_modified(candidate: DetectorCandidate) -> None:
    """Fitting and scoring leave the frames as they were."""
    before = candidate.usual.frame.copy(), candidate.later.frame.copy()
    candidate.fit().score(candidate.later)
    expect(before[0].equals(candidate.usual.frame), "the frame it is fitted on has changed")
    expect(before[1].equals(candidate.later.frame), "the frame it scores has changed")


def missing_values_have_no_score(candidate: DetectorCandidate) -> None:
    """Rows in which a value is missing have no score; the rows after them have one."""
    frame = candidate.later.frame.copy()
    frame.loc[100:104, "flow"] = np.nan
    scores = candidate.detector.score(Panel(frame, SCHEMA)).of(FIRST)
    whole = candidate.detector.score(candidate.later).of(FIRST)
    expect(bool(np.isnan(scores[100:105]).all()), "rows with missing values have scores")
    rest = np.r_[np.arange(100), np.arange(105, len(scores))]
    expect(np.array_equal(np.isnan(scores[rest]), np.isnan(whole[rest])), "other rows have lost their scores")
    holes = candidate.usual.frame.copy()
    holes.loc[[0, 1, 50, 51, 300], "flow"] = np.nan
    learned = candidate.fit(Panel(holes, SCHEMA)).score(candidate.later)
    expect(np.isfinite(learned.of(FIRST)[-1]), "it learns nothing from rows with holes")


# -- time ------------------------------------------------------------------------------------------------------


def later_rows_change_nothing(candidate: DetectorCandidate) -> None:
    """Where its settings are causal, rows that come later do not change a score."""
    if not candidate.detector.causal:
        expect(not tags_of(candidate).online, "tagged online, its example is not causal")
        return
    frame = candidate.later.frame.copy()
    late = (frame[ID] == FIRST).to_numpy() & (np.arange(len(frame)) >= 160)
    frame.loc[late, "flow"] = 500.0
    here = candidate.detector.score(Panel(frame, SCHEMA)).of(FIRST)[:160]
    expect(same(here, candidate.detector.score(candidate.later).of(FIRST)[:160]), "the future leaks in")


def stream_equals_batch(candidate: DetectorCandidate) -> None:
    """Row by row, in chunks, and all at once the scores are the same; what is kept does not grow."""
    if not tags_of(candidate).online:
        refused(ConfigError, lambda: candidate.detector.watch(FIRST), names="stream")
        return
    times, rows = candidate.one(FIRST)
    batch = candidate.detector.score(candidate.later).of(FIRST)
    single = candidate.detector.watch(FIRST)
    got = np.array([single.update(time, row.tolist()) for time, row in zip(times[:80], rows[:80], strict=True)])
    expect(same(got, batch[:80]), "row by row the scores differ")
    chunks = candidate.detector.watch(FIRST)
    parts = [chunks.update_many(times[at : at + 37], rows[at : at + 37]) for at in range(0, len(rows), 37)]
    expect(same(np.concatenate(parts), batch), "in chunks the scores differ")
    back = candidate.detector.lookback(candidate.detector.state_of(FIRST))
    expect(chunks.rows_kept <= back, f"it keeps {chunks.rows_kept} rows, its scores look back on {back}")


def bad_rows_are_refused_and_the_stream_goes_on(candidate: DetectorCandidate) -> None:
    """Each fault of a row is one error; the next good row is scored as if the bad one had never come."""
    if not tags_of(candidate).online:
        return
    times, rows = candidate.one(FIRST)
    watch, plain = candidate.detector.watch(FIRST), candidate.detector.watch(FIRST)
    watch.update_many(times[:60], rows[:60])
    plain.update_many(times[:60], rows[:60])
    good = dict(zip(SCHEMA.names, rows[60].tolist(), strict=True))
    faults: tuple[tuple[type[HeliotropeError], object, dict[str, object], str], ...] = (
        (SchemaError, times[60], good | {"flow": "much"}, "flow"),
        (SchemaError, times[60], {"flow": 1.0}, "power"),
        (SchemaError, times[60], good | {"heat": 1.0}, "heat"),
        (DataError, times[60], good | {"power": 1e300}, "power"),
        (DataError, times[60], good | {"power": float("inf")}, "power"),
        (DataError, times[59], good, "clock"),
        (DataError, times[3], good, "clock"),
        (DataError, np.datetime64("NaT"), good, "timestamp"),
    )
    for error, time, row, names in faults:
        refused(error, partial(watch.update, time, row), names=names)
    expect(np.isnan(watch.update(times[60], good | {"flow": None})), "a missing value has a score")
    plain.update(times[60], good | {"flow": None})
    expect(same(watch.update_many(times[61:90], rows[61:90]), plain.update_many(times[61:90], rows[61:90])), "lost")


# -- bad input -------------------------------------------------------------------------------------------------


def bad_panels_are_refused(candidate: DetectorCandidate) -> None:
    """Each fault of a panel is one error that names it, at fit and at score."""
    usual, later = candidate.usual.frame, candidate.later.frame
    faults = (
        (SchemaError, {"flow": "much"}, "flow"),
        (DataError, {"flow": np.nan}, "flow"),
        (DataError, {"power": 1e300}, "power"),
        (DataError, {"power": np.inf}, "power"),
    )
    for error, values, names in faults:
        refused(error, partial(candidate.fit, Panel(usual.assign(**values), SCHEMA)), names=names)
        refused(error, partial(candidate.detector.score, Panel(later.assign(**values), SCHEMA)), names=names)
    for act, frame in ((candidate.fit, usual), (candidate.detector.score, later)):
        refused(SchemaError, partial(act, Panel(frame.drop(columns="power"), SCHEMA)), names="power")
        back = frame.assign(timestamp=frame[TIME].where(frame.index != 50, frame[TIME][10]))
        refused(DataError, partial(act, Panel(back, SCHEMA)), names="clock")
        refused(DataError, partial(act, Panel(frame.iloc[:0], SCHEMA)), names="empty")
    still = Panel(usual.assign(flow=1.0, power=2.0), SCHEMA)
    refused(DataError, lambda: candidate.fit(still), names="never changes")


def unknown_names_are_refused(candidate: DetectorCandidate) -> None:
    """Unknown columns are refused, and unknown series too unless all share one normal."""
    other = Panel(candidate.later.frame, SCHEMA).for_target("power")
    narrow = candidate.fit(Panel(candidate.usual.frame, SCHEMA).for_target("flow"))
    expect(narrow.columns == ("flow",), f"it watches {narrow.columns}, not the targets")
    expect(len(narrow.score(other)) == len(other), "a target of its own among the covariates is not found")
    lacking = Panel(candidate.later.frame[[ID, TIME, "power"]], other.schema.for_target("power"))
    refused(SchemaError, lambda: narrow.score(lacking), names="flow")
    strange = Panel(candidate.later.frame.assign(series_id="plant-9"), SCHEMA)
    strange = cut_out(strange, np.arange(len(strange)) < SIZES[0] // 2)
    if tags_of(candidate).pooled:
        expect(len(candidate.detector.score(strange)) == len(strange), "a new series has no scores")
    else:
        refused(UnknownNameError, lambda: candidate.detector.score(strange), names="plant-9")


def too_few_rows_are_refused(candidate: DetectorCandidate) -> None:
    """Fewer rows than it looks back on are refused by the name of the series."""
    back = candidate.detector.lookback(candidate.detector.state_of(FIRST))
    if back:
        few = cut_out(candidate.later, candidate.later.frame.groupby(ID).cumcount() < back)
        refused(InsufficientHistoryError, lambda: candidate.detector.score(few), names=FIRST)
        refused(InsufficientHistoryError, lambda: candidate.fit(few), names="rows")


# -- what lasts ------------------------------------------------------------------------------------------------


def fits_are_reproducible(candidate: DetectorCandidate) -> None:
    """Fitted twice it is the same to the last bit, another seed gives another, global numbers are left alone."""
    before = pickle.dumps(np.random.get_state())
    again = candidate.fit()
    expect(pickle.dumps(np.random.get_state()) == before, "fitting draws numpy's global numbers")
    expect(candidate.digest(again) == candidate.digest(candidate.detector), "a second fit gives another detector")
    seeded = "seed" in candidate.kind.parameter_names()
    expect(seeded == tags_of(candidate).seeded, f"tagged {tags_of(candidate).seeded}, a parameter 'seed': {seeded}")
    if seeded:
        expect(
            candidate.digest(candidate.fit(seed=1)) != candidate.digest(candidate.detector), "the seed is not used"
        )


def artifact_gives_the_same_bits(candidate: DetectorCandidate) -> None:
    """Out of its artifact, and out of a pickle, it scores the same to the last bit."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "artifact"
        save_artifact(candidate.detector, SCHEMA, folder)
        loaded, manifest = load_artifact(folder, candidate.catalog)
    expect(manifest.model == candidate.name, f"the manifest names '{manifest.model}'")
    copy = pickle.loads(pickle.dumps(candidate.detector))  # noqa: S301 - our own, just written
    for other in (loaded, copy):
        expect(candidate.digest(other) == candidate.digest(candidate.detector), "the copy scores differently")
    expect(loaded.columns == candidate.detector.columns, "the copy watches other columns")


def loop_runs_where_it_is_told(candidate: DetectorCandidate) -> None:
    """Training runs on the given runner, with the tagged backend, as it does without one, and resumes."""
    backend, runner = candidate.kind.tags.backend, WatchedRunner()
    detector = candidate.fit(runner=runner)
    expect(set(runner.backends) == ({backend} if backend else set()), f"ran {runner.backends}, tagged {backend}")
    expect(candidate.digest(detector) == candidate.digest(candidate.detector), "the runner changes the detector")
    if backend:
        rest = WatchedRunner(start=runner.checkpoints[0])
        resumed: Scores = candidate.fit(runner=rest).score(candidate.later)
        expect(rest.steps == runner.steps[1:], f"after a restart it did {rest.steps} of {runner.steps}")
        expect(same(resumed.values, candidate.detector.score(candidate.later).values), "interrupted, it differs")


DETECTOR_CHECKS = tuple(
    Check.of(function)
    for function in (
        params_round_trip,
        search_space_is_buildable,
        not_fitted_is_an_error,
        one_score_a_row,
        strange_rows_score_higher,
        series_keep_to_themselves,
        input_is_not_modified,
        missing_values_have_no_score,
        later_rows_change_nothing,
        stream_equals_batch,
        bad_rows_are_refused_and_the_stream_goes_on,
        bad_panels_are_refused,
        unknown_names_are_refused,
        too_few_rows_are_refused,
        fits_are_reproducible,
        artifact_gives_the_same_bits,
        loop_runs_where_it_is_told,
    )
)
"""The exam, in the order of its sections."""
