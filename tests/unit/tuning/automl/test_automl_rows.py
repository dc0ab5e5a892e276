"""Folds: each row is judged once a shuffle, classes are spread evenly, rows in time are judged by earlier ones."""

from __future__ import annotations

import numpy as np
import pytest

from cluster.errors import InsufficientHistoryError
from tuning.automl.rows import folds_of


def test_every_row_is_judged_once_a_shuffle_and_never_learned_from_there() -> None:
    target = np.random.default_rng(0).normal(size=103)
    folds = folds_of(target, classes=0, count=5, repeats=2, seed=1)
    assert [fold.repeat for fold in folds] == [0] * 5 + [1] * 5
    for repeat in (0, 1):
        judged = np.concatenate([fold.validation for fold in folds if fold.repeat == repeat])
        assert sorted(judged) == list(range(103))
    assert all(not set(fold.train) & set(fold.validation) for fold in folds)
    assert all(len(fold.train) + len(fold.validation) == 103 for fold in folds)


def test_classes_and_sizes_of_numbers_are_spread_evenly() -> None:
    labels = np.repeat([0, 1, 2], [70, 25, 5]).astype(np.int64)
    for fold in folds_of(labels, classes=3, count=5):
        assert np.bincount(labels[fold.validation], minlength=3).tolist() == [14, 5, 1]
    numbers = np.arange(100.0)
    means = [numbers[fold.validation].mean() for fold in folds_of(numbers, classes=0, count=5)]
    assert np.ptp(means) < 5


def test_rows_in_time_are_judged_after_what_was_learned_the_newest_first() -> None:
    folds = folds_of(np.arange(100.0), classes=0, count=3, ordered=True)
    assert all(fold.train.max() < fold.validation.min() for fold in folds)
    assert folds[0].validation.max() == 99
    assert [len(fold.train) for fold in folds] == sorted((len(fold.train) for fold in folds), reverse=True)


def test_too_few_rows_are_named() -> None:
    with pytest.raises(InsufficientHistoryError, match="got 12, expected 20"):
        folds_of(np.arange(12.0), classes=0, count=5)
