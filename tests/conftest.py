"""What every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cluster.settings import Settings

# Two cores are shared by everything a test starts; thread pools of that size each only fight over them. Numeric
# libraries read this at their import, which comes after this file's.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder for everything the platform keeps."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def settings(home: Path) -> Settings:
    """Development settings in `home`, every port free to choose; the machine's ML_* variables play no part."""
    return Settings.from_environment(
        {"ML_HOME": str(home), "ML_HTTP_PORT": "0", "ML_DASHBOARD_PORT": "0", "ML_TRACKING_PORT": "0"}
    )
