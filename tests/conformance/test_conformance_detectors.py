"""Every detector of the catalog sits the exam of training.core.detector_checks."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import cache

import pytest

from training.core.detector_candidate import DetectorCandidate, digest_elsewhere
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


def test_another_process_learns_the_same() -> None:
    kinds = [DETECTORS.load(name) for name in DETECTORS]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        theirs = list(pool.map(digest_elsewhere, kinds, timeout=120))
    mine = [candidate(kind.name) for kind in kinds]
    assert theirs == [each.digest(each.detector) for each in mine]


def test_excuses_name_checks_and_say_why() -> None:
    known = {check.name for check in DETECTOR_CHECKS}
    for detector in DETECTORS:
        for check, reason in DETECTORS.load(detector).excuses.items():
            assert check in known
            assert reason
