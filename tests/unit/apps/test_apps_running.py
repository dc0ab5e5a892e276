"""The file that tells the other commands where the platform is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from apps.running import FILE, Running, find_running, require_running
from cluster.errors import TransientError
from cluster.settings import Settings


def running(pid: int) -> Running:
    return Running(pid=pid, ray_address="127.0.0.1:6379", dashboard_url="http://127.0.0.1:8265")


def test_found_while_its_process_lives_and_gone_once_forgotten(settings: Settings) -> None:
    own = running(os.getpid())
    own.save(settings)
    assert find_running(settings) == own
    Running.forget(settings)
    assert find_running(settings) is None
    assert not (settings.home / FILE).exists()


def test_a_dead_process_does_not_count(settings: Settings) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    running(child.pid).save(settings)
    assert find_running(settings) is None
    with pytest.raises(TransientError, match="heliotrope up"):
        require_running(settings)


def test_another_process_file_is_left_alone(settings: Settings) -> None:
    running(os.getppid()).save(settings)
    Running.forget(settings)
    assert (settings.home / FILE).exists()
