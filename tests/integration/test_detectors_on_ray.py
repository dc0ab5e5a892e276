"""The autoencoder on two real workers learns what it learns in one process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cluster.lifecycle import Cluster
from training.core.detector_candidate import later_panel, usual_panel
from training.detectors.autoencoder import Autoencoder
from training.distributed.ray_runner import RayRunner

pytestmark = pytest.mark.ray

TOLERANCE = 1e-3
"""Relative, between scores: sums of float32 in another order, over some 100 steps."""


def test_two_workers_learn_what_one_does(ray_cluster: Cluster, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    params = Autoencoder.example_params() | {"max_epochs": 4}
    runner = RayRunner(num_workers=2, storage=tmp_path, name="autoencoder")
    pair = Autoencoder(**params).fit(usual_panel(), runner=runner).score(later_panel())
    alone = Autoencoder(**params).fit(usual_panel()).score(later_panel())
    assert np.isfinite(pair.values[-1])
    np.testing.assert_allclose(pair.values, alone.values, rtol=TOLERANCE, equal_nan=True)
