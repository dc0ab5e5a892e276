"""Every detector of the catalog sits the exam of training.core.detector_checks."""

from __future__ import annotations

from functools import cache

import pytest

from training.core.detector_candidate import DetectorCandidate
from training.core.detector_checks import DETECTOR_CHECKS
from training.core.exam import Check, sit
from training.detectors import DETECTORS


@cache
def candidate(name: str) -> DetectorCandidate:
    return DetectorCandidate(DETECTORS, name)


@pytest.mark.parametrize("check", DETECTOR_CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("detector", list(DETECTORS))
def test_exam(detector: str, check: Check[DetectorCandidate]) -> None:
    sit(check, candidate(detector))


def test_excuses_name_checks_and_say_why() -> None:
    known = {check.name for check in DETECTOR_CHECKS}
    for detector in DETECTORS:
        for check, reason in DETECTORS.load(detector).excuses.items():
            assert check in known
            assert reason
