"""What every test may use."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from threadpoolctl import threadpool_limits

from cluster.settings import Settings

if TYPE_CHECKING:
    import httpx

    from serve_deployments.rollout.desk import Desk
    from serve_deployments.service import Service
    from training.core.panel import Panel
    from training.models.ensemble import Ensemble

# Two cores are shared by everything a test starts; thread pools of that size each only fight over them. Numeric
# libraries read this at their import; numpy, which a plugin may have loaded before, is told. The number of threads
# changes the order of sums, and with it the last bits that tests compare between processes.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
threadpool_limits(1)


@pytest.fixture
def data_dir() -> Path:
    """Where data sets that do not ship are looked for."""
    return Path(os.environ.get("ML_DATA_DIR") or Path(__file__).parents[2] / "shared" / "data")


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


@pytest.fixture(scope="session")
def hourly() -> Panel:
    """Four weeks of two made-up plants: target NOX, covariates AT and a whole number DAY; seeded."""
    import numpy as np
    import pandas as pd

    from training.core.panel import Panel
    from training.core.schema import Column, Schema

    schema = Schema(
        name="plant",
        frequency="h",
        targets=(Column(name="NOX", unit="mg/m3", low=0, high=200),),
        covariates=(Column(name="AT", unit="deg C", low=-60, high=60), Column(name="DAY", kind="int")),
        season_length=24,
    )
    rng = np.random.default_rng(7)
    hours = np.arange(672)
    frames = [
        pd.DataFrame(
            {
                "series_id": series,
                "timestamp": pd.date_range("2015-01-01", periods=len(hours), freq="h"),
                "NOX": level + 8 * np.sin(hours / 24 * 2 * np.pi) + rng.normal(0, 2, len(hours)),
                "AT": 15 + 5 * np.cos(hours / 24 * 2 * np.pi) + rng.normal(0, 1, len(hours)),
                "DAY": (hours // 24) % 7,
            }
        )
        for series, level in (("plant-1", 60.0), ("plant-2", 90.0))
    ]
    return Panel(pd.concat(frames, ignore_index=True), schema).validate()


@pytest.fixture(scope="session")
def ensemble(hourly: Panel) -> Ensemble:
    """A tiny fitted and calibrated ensemble of ridge, seasonal naive and trees, with calendar features."""
    from training.core.splits import chronological_split
    from training.models.ensemble import Ensemble
    from training.models.xgboost_trees import XGBoost

    made = Ensemble(
        features=[{"name": "calendar", "params": {}}],
        members=[
            {"name": "ridge", "params": {"window": 24, "covariates": True}},
            {"name": "seasonal_naive", "params": {"season": 24}},
            {"name": "xgboost", "params": XGBoost.example_params()},
        ],
    )
    return made.fit_panel(hourly, horizon=6, split=chronological_split(hourly))


@pytest.fixture(scope="session")
def ensemble_folder(ensemble: Ensemble, hourly: Panel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ensemble as an artifact folder."""
    from training.core.artifact import save_artifact

    folder = tmp_path_factory.mktemp("artifacts") / "ensemble"
    save_artifact(ensemble, hourly.schema, folder)
    return folder


@pytest.fixture
def service(ensemble_folder: Path) -> Service:
    """The forecast service in this process, as a fused replica has it."""
    from cluster.clock import ManualClock
    from cluster.monitoring.metrics import Metrics
    from serve_deployments.admission import Limits
    from serve_deployments.handlers.kinds import load
    from serve_deployments.handlers.shelf import Shelf
    from serve_deployments.service import fused_service

    model = load(
        ensemble_folder, kind="forecast", name="nox", version="1.0.0", metrics={"accuracy": 0.92, "wape": 0.08}
    )
    return fused_service(
        Shelf([model]),
        limits=Limits(
            max_body_bytes=200_000, request_timeout_s=30, max_concurrent_requests=4, max_queued_requests=4
        ),
        target_s=0.05,
        max_batch_size=8,
        threads=2,
        metrics=Metrics(),
        clock=ManualClock(1_700_000_000.0),
    )


@pytest.fixture
def good_request(hourly: Panel, ensemble: Ensemble) -> dict[str, Any]:
    """A right request: as many rows of both plants as the model needs."""
    rows = hourly.frame.groupby("series_id", sort=False).tail(ensemble.context)
    return {
        "model": "nox",
        "series": [
            {
                "series_id": series,
                "timestamps": [time.isoformat() for time in group["timestamp"]],
                "values": {name: group[name].tolist() for name in hourly.schema.names},
            }
            for series, group in rows.groupby("series_id", sort=False)
        ],
    }


class Caller:
    """Plain calls of an ASGI application in this process, all on one event loop."""

    def __init__(self, app: Any) -> None:
        import httpx

        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self._http = httpx.AsyncClient(transport=transport, base_url="http://in-process")
        self._runner = asyncio.Runner()

    def get(self, path: str, **more: Any) -> httpx.Response:
        """Send a GET."""
        return self._runner.run(self._http.get(path, **more))

    def post(self, path: str, **more: Any) -> httpx.Response:
        """Send a POST."""
        return self._runner.run(self._http.post(path, **more))

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Send anything else."""
        return self._runner.run(self._http.request(method, path, **more))

    def close(self) -> None:
        """End the event loop."""
        self._runner.run(self._http.aclose())
        self._runner.close()


@pytest.fixture
def connect() -> Iterator[Callable[[Any], Caller]]:
    """Call an ASGI application: `connect(app).get("/healthz")`."""
    made: list[Caller] = []

    def call(app: Any) -> Caller:
        made.append(Caller(app))
        return made[-1]

    yield call
    for caller in made:
        caller.close()


class LocalOffice:
    """Rollouts, experiments and the board they share, in this process.

    Parameters
    ----------
    folder
        Where states and log are kept.
    """

    def __init__(self, folder: Path) -> None:
        from serve_deployments.experiments.exposure_log import ExposureLog
        from serve_deployments.experiments.machine import Experiments
        from serve_deployments.rollout.board import TrafficBoard
        from serve_deployments.rollout.machine import Rollouts

        self.rollouts = LocalState(Rollouts, folder)
        self.experiments = LocalState(Experiments, folder)
        self.board = TrafficBoard(ExposureLog(folder / "log.sqlite"))

    def desk(self, *, profile: str, act: Callable[[str, str, str, Mapping[str, Any]], None]) -> Desk:
        """Return the door to all of it."""
        from serve_deployments.rollout.desk import Desk

        return Desk(self.rollouts, self.experiments, self.board, profile=profile, act=act)


class LocalState:
    """A durable state in this process, with ids of commands made up."""

    def __init__(self, machine: Any, folder: Path) -> None:
        from cluster.clock import ManualClock
        from cluster.state.durable import Durable
        from cluster.storage.files import Storage

        self._number = 0
        self._durable = Durable(machine, Storage(str(folder)), f"{machine.kind}.json", ManualClock(1_700_000_000.0))

    def do(self, command: Any, command_id: str | None = None) -> Any:
        """Run a command."""
        self._number += 1
        return self._durable.do(command, command_id or str(self._number))

    def state(self) -> Any:
        """Return the whole state."""
        return self._durable.state()


@pytest.fixture(scope="session")
def office_in() -> Callable[[Path], LocalOffice]:
    """Make rollouts and experiments in a folder, without Ray: `office_in(folder).desk(...)`."""
    return LocalOffice
