"""State actors that really die, on a real cluster of two nodes that somebody else started."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.head import short_folder

pytestmark = pytest.mark.ray


def test_state_survives_the_death_of_its_process_and_of_its_node(
    run_script: Callable[..., subprocess.CompletedProcess[str]], home: Path
) -> None:
    """One cluster for all: starting one is most of the time."""
    with tempfile.TemporaryDirectory(prefix="ht-", dir=short_folder(), ignore_cleanup_errors=True) as folder:
        # A folder of its own: cluster_utils overwrites and deletes the note of the machine's current Ray otherwise.
        env = {"RAY_AUTH_MODE": "disabled", "RAY_TMPDIR": folder}
        done = run_script(Path(__file__).with_name("two_nodes.py"), str(home), env=env, timeout_s=240)
    assert done.returncode == 0, done.stderr[-5000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["nodes"] == [2.0, 3.0]
    assert found["owned"] is False
    assert found["left alive"] is True
    assert found["after each command"] == {"desired-state": True, "schedules": True, "run-ledger": True}
    middle = found["in the middle"]
    assert middle["versions"]
    assert middle["state"]["applications"]["app"] == {"spec": {"n": 149}, "version": 150}
    assert middle["deaths_during_work"] >= 2
    assert middle["another_process"]
    assert found["refused"] == "unknown run 'nobody'. Known: r run"
    assert found["detached"] == found["after close"] == ["r"]
    assert found["node dies"]["answer"] == found["node dies"]["again"] == {"version": 2}
    assert found["node dies"]["state"]["applications"]["a"] == {"spec": {"n": 2}, "version": 2}
