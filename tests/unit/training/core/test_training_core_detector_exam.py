"""The detectors' exam finds what it is there to find: detectors with one fault each."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from training.core.catalog import Catalog
from training.core.component import State
from training.core.detector import DetectorTags
from training.core.detector_candidate import DetectorCandidate
from training.core.detector_checks import DETECTOR_CHECKS
from training.core.exam import CheckFailed, sit
from training.core.runner import Runner
from training.core.windows import Floats, Windows
from training.detectors.z_score import ZScore

NAMED = {check.name: check for check in DETECTOR_CHECKS}


class Peeks(ZScore):
    def judge(self, state: State, table: Windows) -> Floats:
        return super().judge(state, table) / float(table.rows.std())


class Remembers(ZScore):
    calls = 0.0

    def judge(self, state: State, table: Windows) -> Floats:
        Remembers.calls += 0.1
        return super().judge(state, table) + Remembers.calls


class LooksBackUntold(ZScore):
    def judge(self, state: State, table: Windows) -> Floats:
        scores = super().judge(state, table)
        doubled: Floats = scores + np.concatenate([[0.0], scores[:-1]])
        return doubled


class SeesNothing(ZScore):
    def judge(self, state: State, table: Windows) -> Floats:
        return np.zeros(len(table.rows))


class Shortens(ZScore):
    def judge(self, state: State, table: Windows) -> Floats:
        scores = super().judge(state, table)
        scores[5] = np.nan
        return scores


class Forgets(ZScore):
    def restore(self, state: State) -> None:
        super().restore(state | {"states": [{"centre": np.zeros(2), "spread": np.ones(2)}] * len(state["series"])})


class Draws(ZScore):
    def learn(self, table: Windows, runner: Runner | None) -> State:
        np.random.rand()
        return super().learn(table, runner)


class SaysSeeded(ZScore):
    tags: ClassVar[DetectorTags] = DetectorTags(online=True, seeded=True)


class SaysDistributed(ZScore):
    tags: ClassVar[DetectorTags] = DetectorTags(online=True, backend="torch")


def candidate(kind: type[ZScore]) -> DetectorCandidate:
    return DetectorCandidate(Catalog("detector", {kind.name: f"{__name__}:{kind.__qualname__}"}), kind.name)


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a catalog find the classes of this file, which pytest does not import under a name."""
    import sys
    from types import SimpleNamespace

    monkeypatch.setitem(sys.modules, __name__, SimpleNamespace(**globals()))


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (Peeks, "later_rows_change_nothing"),
        (Remembers, "series_keep_to_themselves"),
        (LooksBackUntold, "stream_equals_batch"),
        (SeesNothing, "strange_rows_score_higher"),
        (Shortens, "one_score_a_row"),
        (Forgets, "artifact_gives_the_same_bits"),
        (Draws, "fits_are_reproducible"),
        (SaysSeeded, "fits_are_reproducible"),
        (SaysDistributed, "loop_runs_where_it_is_told"),
    ],
)
def test_a_broken_promise_is_found(kind: type[ZScore], check: str) -> None:
    with pytest.raises(CheckFailed):
        sit(NAMED[check], candidate(kind))


def test_every_check_has_a_name_and_a_promise_of_its_own() -> None:
    assert len(NAMED) == len(DETECTOR_CHECKS)
    assert len({check.why for check in DETECTOR_CHECKS}) == len(DETECTOR_CHECKS)
    assert all(check.why.endswith(".") and "\n" not in check.why for check in DETECTOR_CHECKS)
