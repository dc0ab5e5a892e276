"""Every model and every detector of the catalogs is measured, or excused in writing."""

from __future__ import annotations

from benchmarks.nab import MEMBERS
from benchmarks.quality import EXCUSED, scenarios
from training.detectors import DETECTORS
from training.models import MODELS


def test_each_model_has_a_scenario_or_a_reason() -> None:
    assert set(scenarios()) | set(EXCUSED) == set(MODELS)
    assert not set(scenarios()) & set(EXCUSED)
    assert all(len(reason) > 20 for reason in EXCUSED.values())


def test_each_detector_is_measured() -> None:
    assert {kind for kind, _ in MEMBERS.values()} == set(DETECTORS)
