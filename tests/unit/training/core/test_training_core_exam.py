"""The exam catches what it is there for: models that break one promise each, and excuses that are out of date."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest

from training.core.candidate import Candidate
from training.core.catalog import Catalog
from training.core.checks import CHECKS
from training.core.estimator import Tags
from training.core.exam import Check, CheckFailed, sit
from training.core.runner import Runner
from training.core.windows import Floats, Windows
from training.models.seasonal_naive import SeasonalNaive

NAMED = {check.name: check for check in CHECKS}


class Peeks(SeasonalNaive):
    def predict_windows(self, context: Windows) -> Floats:
        after = np.minimum(context.starts + context.length, len(context.rows) - 1)
        forecast: Floats = np.array(super().predict_windows(context))
        np.add(forecast, context.rows[after][:, None, : len(self.targets)], out=forecast)
        return forecast


class FitsOnEverything(SeasonalNaive):
    def fit_windows(self, train: Windows, validation: Windows | None, runner: Runner | None) -> None:
        self._mean: Floats = train.rows.mean(axis=0)[: len(self.targets)]

    def predict_windows(self, context: Windows) -> Floats:
        return super().predict_windows(context) * 0 + self._mean


class Crowds(SeasonalNaive):
    def predict_windows(self, context: Windows) -> Floats:
        return super().predict_windows(context) + len(context)


class Writes(SeasonalNaive):
    def fit_windows(self, train: Windows, validation: Windows | None, runner: Runner | None) -> None:
        train.rows[0] = 0


class Forgets(SeasonalNaive):
    def fit_windows(self, train: Windows, validation: Windows | None, runner: Runner | None) -> None:
        self._shift = float(train.rows.mean())

    def predict_windows(self, context: Windows) -> Floats:
        return super().predict_windows(context) + getattr(self, "_shift", 0.0)


class Draws(SeasonalNaive):
    def fit_windows(self, train: Windows, validation: Windows | None, runner: Runner | None) -> None:
        self._noise = np.random.normal()

    def predict_windows(self, context: Windows) -> Floats:
        return super().predict_windows(context) + self._noise


class SaysSeeded(SeasonalNaive):
    tags: ClassVar[Tags] = Tags(seeded=True)


class SaysDistributed(SeasonalNaive):
    tags: ClassVar[Tags] = Tags(backend="torch")


class LearnsNothing(SeasonalNaive):
    def predict_windows(self, context: Windows) -> Floats:
        return super().predict_windows(context) * 0


class NotFinite(SeasonalNaive):
    def predict_windows(self, context: Windows) -> Floats:
        return super().predict_windows(context) * np.nan


class KeepsNoParameter(SeasonalNaive):
    def params(self) -> dict[str, Any]:
        return {"season": 1}


class Excused(LearnsNothing):
    excuses: ClassVar[Mapping[str, str]] = {"learns_something": "it is a test"}


class ExcusedForNothing(SeasonalNaive):
    excuses: ClassVar[Mapping[str, str]] = {"learns_something": "it was worse once"}


def candidate(kind: type[SeasonalNaive]) -> Candidate:
    return Candidate(Catalog("model", {kind.name: f"{__name__}:{kind.__qualname__}"}), kind.name)


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a catalog find the classes of this file, which pytest does not import under a name."""
    import sys
    from types import SimpleNamespace

    monkeypatch.setitem(sys.modules, __name__, SimpleNamespace(**globals()))


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (Peeks, "predicting_sees_no_future"),
        (FitsOnEverything, "fitting_sees_no_future"),
        (Crowds, "batch_equals_one_by_one"),
        (Forgets, "artifact_gives_the_same_bits"),
        (Draws, "fits_are_reproducible"),
        (SaysSeeded, "seed_is_used"),
        (SaysDistributed, "loop_runs_where_it_is_told"),
        (LearnsNothing, "learns_something"),
        (NotFinite, "shapes_are_as_promised"),
        (KeepsNoParameter, "artifact_gives_the_same_bits"),
    ],
)
def test_a_broken_promise_is_found(kind: type[SeasonalNaive], check: str) -> None:
    with pytest.raises(CheckFailed):
        sit(NAMED[check], candidate(kind))


def test_writing_into_the_data_is_found() -> None:
    with pytest.raises(ValueError, match="read-only"):
        sit(NAMED["input_is_not_modified"], candidate(Writes))


def test_an_excused_check_must_fail() -> None:
    sit(NAMED["learns_something"], candidate(Excused))
    with pytest.raises(CheckFailed, match="remove its excuse 'it was worse once'"):
        sit(NAMED["learns_something"], candidate(ExcusedForNothing))


def test_an_error_is_not_a_failed_check() -> None:
    def broken(_: Candidate) -> None:
        raise ZeroDivisionError

    check = Check(name="learns_something", why="", run=broken)
    with pytest.raises(ZeroDivisionError):
        sit(check, candidate(Excused))


def test_every_check_has_a_name_and_a_promise_of_its_own() -> None:
    assert len(NAMED) == len(CHECKS)
    assert len({check.why for check in CHECKS}) == len(CHECKS)
    assert all(check.why.endswith(".") and "\n" not in check.why for check in CHECKS)
