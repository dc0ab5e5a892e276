"""XGBoost on the workers of a real cluster: as good as in one process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cluster.lifecycle import Cluster
from training.core.candidate import HORIZON, easy_panel
from training.core.metrics import mae
from training.core.splits import chronological_split
from training.distributed.ray_runner import RayRunner
from training.models.xgboost_trees import XGBoost


@pytest.mark.ray
def test_two_workers_boost_as_well_as_one_process(ray_cluster: Cluster, tmp_path: Path) -> None:
    panel = easy_panel().with_roles()
    split = chronological_split(panel)
    # No sampling: ranks draw rows of their own, and what is left to differ are the histograms' borders.
    params = {**XGBoost.example_params(), "rounds": 40, "subsample": 1.0, "column_sample": 1.0}
    steps: list[int] = []
    runner = RayRunner(num_workers=2, storage=tmp_path, name="boost", on_report=lambda step, _: steps.append(step))
    shared = XGBoost(**params).fit_panel(panel, horizon=HORIZON, split=split, runner=runner)
    alone = XGBoost(**params).fit_panel(panel, horizon=HORIZON, split=split)

    context, future = panel.windows(alone.context + HORIZON).ahead_within(HORIZON, split.test_start).split(HORIZON)
    actual = future.select(alone.targets)
    errors = [mae(actual, model.predict(context)) for model in (shared, alone)]
    assert errors[0] == pytest.approx(errors[1], rel=0.1)
    # Histograms are summed over ranks, so the trees are nearly those of one process, not those of half the rows.
    assert np.abs(shared.predict(context) - alone.predict(context)).mean() < errors[1] / 3
    assert steps[:1] == [10]
    assert steps == sorted(steps)
