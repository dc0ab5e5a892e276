"""Without an extra's library everything imports, and the model that needs it says what to install."""

from __future__ import annotations

import subprocess
import sys

WITHOUT_PROPHET = """
import sys
sys.modules["prophet"] = None
from cluster.errors import ConfigError
from training.core.candidate import Candidate
from training.models import MODELS
for name in MODELS:
    MODELS.load(name)
candidate = Candidate(MODELS, "prophet")
try:
    candidate.model
except ConfigError as error:
    print(error)
"""


def test_without_prophet_it_says_what_to_install() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PROPHET], capture_output=True, text=True, timeout=120, check=True
    )
    assert 'pip install "heliotrope[prophet]"' in done.stdout
