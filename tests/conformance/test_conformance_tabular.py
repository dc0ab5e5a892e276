"""Every regressor and classifier of the catalogs sits the exam of training.core.tabular_checks."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any

import pytest

from training.core.catalog import Catalog
from training.core.exam import Check, sit
from training.core.tabular_candidate import TabularCandidate, digest_elsewhere
from training.core.tabular_checks import TABULAR_CHECKS
from training.tabular import CLASSIFIERS, REGRESSORS

CATALOGS: dict[str, Catalog[Any]] = {"regressor": REGRESSORS, "classifier": CLASSIFIERS}
MEMBERS = [(family, name) for family, catalog in CATALOGS.items() for name in catalog]


@cache
def candidate(family: str, name: str) -> TabularCandidate:
    return TabularCandidate(CATALOGS[family], name)


@pytest.mark.parametrize("check", TABULAR_CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize(("family", "name"), MEMBERS)
def test_exam(family: str, name: str, check: Check[TabularCandidate]) -> None:
    sit(check, candidate(family, name))


def test_another_process_learns_the_same() -> None:
    candidates = [candidate(family, name) for family, name in MEMBERS]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        theirs = list(pool.map(digest_elsewhere, [each.kind for each in candidates], timeout=120))
    assert theirs == [each.digest(each.model) for each in candidates]


def test_both_lists_have_the_same_members() -> None:
    assert list(REGRESSORS) == list(CLASSIFIERS)
