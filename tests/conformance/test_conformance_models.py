"""Every model of the catalog sits the exam of training.core.checks."""

from __future__ import annotations

from functools import cache

import pytest

from training.core.candidate import Candidate
from training.core.checks import CHECKS
from training.core.exam import Check, sit
from training.models import MODELS


@cache
def candidate(name: str) -> Candidate:
    return Candidate(MODELS, name)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("model", list(MODELS))
def test_exam(model: str, check: Check[Candidate]) -> None:
    sit(check, candidate(model))


def test_excuses_name_checks_and_say_why() -> None:
    known = {check.name for check in CHECKS}
    for model in MODELS:
        for check, reason in MODELS.load(model).excuses.items():
            assert check in known
            assert reason
