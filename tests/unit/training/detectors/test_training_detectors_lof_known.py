"""Pieces that a local outlier factor learned from have the factor that they would be given."""

from __future__ import annotations

import numpy as np
import pytest

from training.detectors.local_outlier_factor import LocalOutlierFactor


@pytest.mark.parametrize("rows", [slice(0, 400), slice(0, 150), slice(150, 400), slice(40, 41)])
def test_known_pieces_are_not_looked_up_again(rows: slice) -> None:
    pieces = np.random.default_rng(0).normal(size=(400, 12))
    pieces[40:60] = pieces[40]  # it stood still
    detector = LocalOutlierFactor(window=12, neighbours=10)
    state = detector.learn_pieces(pieces, None)
    known = detector.judge_pieces(state, pieces[rows])
    # a piece of nothing before them: now all are looked up
    looked_up = detector.judge_pieces(state, np.concatenate([np.full((1, 12), 7.0) + np.arange(12), pieces[rows]]))[
        1:
    ]
    np.testing.assert_allclose(known, looked_up, rtol=1e-12)
    assert np.isnan(known).sum() == 0
