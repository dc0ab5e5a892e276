"""Fast routines for tables against plain ones: leave-one-out by leaving out, forests by scikit-learn's own."""

from __future__ import annotations

import numpy as np
import pytest

from training.tabular.forest import ForestClassifier, ForestRegressor
from training.tabular.leave_one_out import Factors

RNG = np.random.default_rng(5)
INPUTS = RNG.normal(size=(60, 4))
OUTPUTS = np.column_stack([INPUTS @ [1.0, -2.0, 0.0, 0.5], np.sin(INPUTS[:, 0])]) + RNG.normal(0, 0.3, (60, 2))


@pytest.mark.parametrize("penalty", [1e-6, 0.1, 10.0])
def test_leave_one_out_is_leaving_out(penalty: float) -> None:
    fast = Factors.of(INPUTS, OUTPUTS).left_out(penalty)
    for row in range(0, 60, 7):
        rest = np.arange(60) != row
        x, y = INPUTS[rest], OUTPUTS[rest]
        mx, my = x.mean(axis=0), y.mean(axis=0)
        # The penalty weighs squares beside the mean over all 60 rows, the left out one included.
        weights = np.linalg.solve((x - mx).T @ (x - mx) + 60 * penalty * np.eye(4), (x - mx).T @ (y - my))
        slow = OUTPUTS[row] - (my + (INPUTS[row] - mx) @ weights)
        np.testing.assert_allclose(fast[row], slow, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("random_cuts", [True, False])
def test_forests_answer_as_scikit_learn_does(random_cuts: bool) -> None:
    from sklearn import ensemble

    kind = "ExtraTrees" if random_cuts else "RandomForest"
    later = RNG.normal(size=(40, 4))
    asked = {"n_estimators": 10, "max_features": 0.5, "random_state": 3}
    middle, scale = OUTPUTS[:, 0].mean(), OUTPUTS[:, 0].std()  # another scale rounds, and cuts, otherwise
    numbers = getattr(ensemble, f"{kind}Regressor")(**asked).fit(INPUTS, (OUTPUTS[:, 0] - middle) / scale)
    ours = ForestRegressor(trees=10, column_share=0.5, random_cuts=random_cuts, seed=3)
    ours.fit(INPUTS, OUTPUTS[:, 0])
    np.testing.assert_allclose(ours.predict(later), numbers.predict(later) * scale + middle, rtol=1e-5, atol=1e-6)
    labels = (OUTPUTS[:, 0] > 0).astype(np.int64)
    shares = getattr(ensemble, f"{kind}Classifier")(**asked).fit(INPUTS, labels).predict_proba(later)
    classes = ForestClassifier(trees=10, column_share=0.5, random_cuts=random_cuts, seed=3)
    said = classes.fit(INPUTS, labels, classes=2).probabilities(later)
    prior = (np.bincount(labels) + 1) / (len(labels) + 2)
    np.testing.assert_allclose(said, (shares * 10 + prior) / 11, rtol=1e-5, atol=1e-6)
