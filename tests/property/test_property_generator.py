"""Generated data are the same in every process."""

from __future__ import annotations

import subprocess
import sys

from training.data.generator import generate_emissions


def test_the_same_seed_gives_the_same_bytes_in_another_process() -> None:
    program = (
        "from training.data.generator import generate_emissions;"
        "import sys; sys.stdout.write(generate_emissions(sites=3, days=300, seed=42)[0].digest())"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    here = generate_emissions(sites=3, days=300, seed=42)[0].digest()
    assert other.stdout == here
    assert generate_emissions(sites=3, days=300, seed=43)[0].digest() != here
