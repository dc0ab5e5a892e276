"""The experiment pages: they answer, show what is tracked, and leave no process behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from cluster.errors import TransientError
from cluster.registry import ui as ui_module
from cluster.registry.mlflow_tracker import open_tracker
from cluster.registry.ui import TrackingUi
from cluster.settings import Settings

_PARENT = """
import signal, sys, time
from cluster.registry.ui import TrackingUi
from cluster.settings import Settings
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
settings = Settings.from_environment({"ML_HOME": sys.argv[1], "ML_TRACKING_PORT": "0"})
with TrackingUi(settings) as ui:
    print(ui.process_id, flush=True)
    time.sleep(120)
"""


def test_the_pages_show_a_run_and_end_with_the_context(settings: Settings) -> None:
    tracker = open_tracker(settings)
    tracker.finish(tracker.start_run("a study", "trial", {"model": "ridge"}))
    with TrackingUi(settings) as ui:
        with urllib.request.urlopen(ui.url, timeout=10) as page:
            assert page.status == 200
        asked = f"{ui.url}/ajax-api/2.0/mlflow/experiments/get-by-name?experiment_name=a%20study"
        with urllib.request.urlopen(asked, timeout=10) as answer:
            assert json.load(answer)["experiment"]["name"] == "a study"
        server = psutil.Process(ui.process_id)
        assert server.children() == []
    assert not server.is_running()
    assert ui.process_id is None
    ui.stop()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_orphan_when_the_parent_is_ended(home: Path, number: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(home)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert parent.stdout is not None
    server = psutil.Process(int(parent.stdout.readline()))
    os.kill(parent.pid, number)
    parent.communicate(timeout=30)
    deadline = time.monotonic() + 60
    while server.is_running() and server.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the server outlived its parent"
        time.sleep(0.05)


def test_a_server_that_does_not_come_up_says_its_last_words(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ui_module, "SERVER", "cluster.registry.no_such_module")
    with pytest.raises(TransientError, match=r"ended with exit code 1.*no_such_module"):
        TrackingUi(settings).start()
