"""A replica told to serve more than its memory for models holds: all answer, few are there, and it tells which."""

from __future__ import annotations

import asyncio
import gc
import shutil
import weakref
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.errors import ConfigError
from cluster.monitoring.metrics import Metrics, total
from cluster.monitoring.model_cache_metrics import MODEL_EVICTIONS, MODEL_LOADS
from serve_deployments.admission import Limits
from serve_deployments.assembly import Assembly
from serve_deployments.cache.spec import CacheSpec
from serve_deployments.graph import GraphSpec, ServedModel, build_graph
from serve_deployments.handlers.forecast_face import SleepingForecast
from serve_deployments.ingress import build_api
from serve_deployments.loading import load_shelf, weights
from serve_deployments.question_routes import FORECAST_PATH
from serve_deployments.resilience.safety_spec import SafetySpec
from serve_deployments.resilience.spec import FallbackSpec
from serve_deployments.schemas import ModelStatus
from serve_deployments.service import fused_service
from serve_deployments.versions.stock import Stock
from serve_deployments.versions.weight import heap_bytes, weigh
from training.core.artifact import save_artifact
from training.core.panel import Panel
from training.models.ensemble import Ensemble

LIMITS = Limits(max_body_bytes=2_000_000, request_timeout_s=30, max_concurrent_requests=4, max_queued_requests=4)
SITES = tuple(f"site-{n}" for n in range(6))


class Replica:
    """What a fused replica has, in this process."""

    def __init__(self, spec: GraphSpec, connect: Callable[[Any], Any]) -> None:
        self.spec, self.metrics = spec, Metrics()
        self.parts = Assembly(spec, self.metrics, replica="r1")
        self.service = fused_service(
            self.parts.shelf,
            limits=spec.limits,
            target_s=spec.target_s,
            max_batch_size=spec.max_batch_size,
            threads=1,
            metrics=self.metrics,
            clock=self.parts.shelf.lives._clock,
            steps=self.parts.steps,
            models=self.parts.models,
        )
        self.http = connect(build_api(self.service))

    def ask(self, question: dict[str, Any], name: str, **more: Any) -> Any:
        return self.http.post(FORECAST_PATH, json={**question, "model": name, **more})

    def count(self, name: str, **labels: str) -> float:
        return total(self.metrics.snapshot(), name, **labels)

    def status(self, name: str) -> dict[str, Any]:
        told = self.http.get(f"/api/models/{name}/status")
        version: dict[str, Any] = ModelStatus.model_validate_json(told.content).model_dump()["versions"][0]
        return version

    @property
    def awake(self) -> list[str]:
        """Who is in memory, the least lately used first."""
        assert self.parts.models is not None
        there = [key.partition("@")[0] for key in self.parts.models._residents.keys]
        assert sorted(there) == sorted(servable.name for servable in self.parts.models.awake)
        return there


Make = Callable[..., Replica]


@pytest.fixture
def sites(ensemble_folder: Path, tmp_path: Path) -> GraphSpec:
    """One artifact under many names, with room for two of them."""
    models = tuple(ServedModel(name=name, version="1.0.0", uri=str(ensemble_folder)) for name in SITES)
    spec = GraphSpec(
        models=models,
        limits=LIMITS,
        cache_dir=str(tmp_path),
        safety=SafetySpec(fallback=FallbackSpec(enabled=True)),
    )
    size_bytes = next(weights(spec)).size_bytes
    return replace(spec, model_memory_bytes=int(2.5 * size_bytes))


@pytest.fixture
def make(connect: Callable[[Any], Any]) -> Iterator[Make]:
    yield lambda spec: Replica(spec, connect)


def told_of(response: Any) -> Any:
    assert response.status_code == 200, response.text
    return response.json()["forecasts"]


def test_all_answer_to_the_bit_and_few_are_in_memory(
    make: Make, sites: GraphSpec, good_request: dict[str, Any]
) -> None:
    replica, whole = make(sites), make(replace(sites, model_memory_bytes=None))
    expected = told_of(whole.ask(good_request, SITES[0]))
    assert replica.awake == list(SITES[:2])
    for name in (*SITES, *SITES):
        assert told_of(replica.ask(good_request, name)) == expected
        assert len(replica.awake) == 2 and replica.awake[-1] == name
        assert replica.parts.models is not None
        assert replica.parts.models.total_bytes <= (sites.model_memory_bytes or 0)
    loads, evictions = replica.count(MODEL_LOADS, outcome="loaded"), replica.count(MODEL_EVICTIONS)
    assert (loads, evictions) == (10, 10), "the first two were there"
    assert whole.status(SITES[0])["resident"] and whole.status(SITES[0])["memory_bytes"] is None


def test_who_looks_or_asks_wrongly_wakes_nobody(make: Make, sites: GraphSpec, good_request: dict[str, Any]) -> None:
    replica = make(sites)
    assert replica.http.get("/readyz").status_code == 200
    listed = {model["name"] for model in replica.http.get("/api/models").json()["models"]}
    assert listed == set(SITES)
    there, asleep = replica.status(SITES[0]), replica.status(SITES[5])
    assert (there["resident"], there["ready"], there["detail"]) == (True, True, "answers")
    assert (asleep["resident"], asleep["ready"], asleep["stage"]) == (False, True, "ACTIVE")
    assert there["memory_bytes"] > 0 and asleep["memory_bytes"] > 0
    assert replica.ask(good_request, SITES[5], horizon=10_000).status_code == 400
    assert replica.count(MODEL_LOADS) == 0 and replica.awake == list(SITES[:2])


def test_a_kept_answer_needs_no_model_and_keeps_none_in_memory(
    make: Make, sites: GraphSpec, good_request: dict[str, Any]
) -> None:
    replica = make(replace(sites, safety=SafetySpec(cache=CacheSpec(where="memory"))))
    assert replica.ask(good_request, SITES[0]).headers["x-cache"] == "computed"
    assert replica.parts.models is not None
    held = [weakref.ref(vars(servable)["ensemble"]) for servable in replica.parts.models.awake]
    gc.disable()  # what goes must go at once, not when Python looks for garbage
    try:
        for name in SITES[2:4]:
            told_of(replica.ask(good_request, name))
        assert replica.awake == list(SITES[2:4])
        assert [ref() for ref in held] == [None, None]
    finally:
        gc.enable()
    loads = replica.count(MODEL_LOADS)
    again = replica.ask(good_request, SITES[0])
    assert again.headers["x-cache"] == "hit" and told_of(again) == told_of(replica.ask(good_request, SITES[3]))
    assert replica.count(MODEL_LOADS) == loads


def test_a_version_that_breaks_in_its_sleep_is_told_and_the_rungs_below_answer(
    make: Make, sites: GraphSpec, ensemble_folder: Path, tmp_path: Path, good_request: dict[str, Any]
) -> None:
    own = tmp_path / "own"
    shutil.copytree(ensemble_folder, own)
    models = (*sites.models, replace(sites.models[0], name="own", uri=str(own)))
    before = replace(sites.models[0], name="own", version="0.9.0")
    replica = make(replace(sites, models=(*models, before)))
    expected = told_of(replica.ask(good_request, SITES[0]))
    (own / "state.json").write_text("{}")
    answer = replica.ask(good_request, "own")
    assert told_of(answer) == expected, "the version before was asleep too"
    assert (answer.json()["rung"], answer.json()["model"]["version"]) == ("previous", "0.9.0")
    assert "ArtifactCorrupt: " in answer.json()["fallback_reason"]
    told = replica.status("own")
    assert (told["stage"], told["ready"], told["resident"]) == ("ERROR", False, False)
    assert told["detail"].startswith("ArtifactCorrupt: ")
    assert replica.http.get("/readyz").status_code == 200, "a restart would not mend it, and others go on"
    assert replica.count(MODEL_LOADS, outcome="failed") == 1


def test_a_model_larger_than_the_budget_is_refused_by_name_before_it_is_deployed(sites: GraphSpec) -> None:
    with pytest.raises(ConfigError, match=r"'site-0@1.0.0' does not fit .* got \d+ bytes, expected at most 1000"):
        build_graph(replace(sites, model_memory_bytes=1000))
    parts = replace(sites, model_memory_bytes=1000)
    with pytest.raises(ConfigError, match="ML_MODEL_MEMORY_BYTES"):
        Assembly(parts, Metrics(), replica="r1")
    with pytest.raises(ConfigError, match="got 'spread' with ML_MODEL_MEMORY_BYTES, expected 'fused'"):
        replace(sites, placement="spread")


def test_versions_are_exchanged_in_place_asleep_and_one_too_large_changes_nothing(
    make: Make, sites: GraphSpec, ensemble_folder: Path, good_request: dict[str, Any]
) -> None:
    replica = make(sites)
    assert replica.parts.models is not None
    stock = Stock(
        [asdict(model) for model in sites.models],
        replica.parts.shelf,
        replica.parts.models,
        replica.parts._bring_up,
        replica.metrics,
        grace_s=0.0,
    )

    async def bring(version: str) -> None:
        stock.want([asdict(replace(model, version=version)) for model in sites.models])
        await stock.settled()
        for _ in range(3):
            await asyncio.sleep(0)

    asyncio.run(bring("2.0.0"))
    assert stock.fault == "" and replica.awake == []
    answer = replica.ask(good_request, SITES[3])
    assert answer.json()["model"]["version"] == "2.0.0" and replica.awake == [SITES[3]]
    replica.parts.models._residents.budget_bytes = 1000
    asyncio.run(bring("3.0.0"))
    assert stock.fault.startswith("site-0 3.0.0: ConfigError: model 'site-0@")
    assert replica.ask(good_request, SITES[3]).json()["model"]["version"] == "2.0.0"


def test_a_shelf_without_a_budget_holds_what_it_held(sites: GraphSpec) -> None:
    shelf = load_shelf(replace(sites, model_memory_bytes=None))
    assert not any(isinstance(servable, SleepingForecast) for servable in shelf)


@pytest.fixture(scope="module")
def large(hourly: Panel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trees that take some megabytes."""
    from training.core.splits import chronological_split

    member = {"name": "xgboost", "params": {"window": 24, "rounds": 20, "depth": 6}}
    folder = tmp_path_factory.mktemp("artifacts") / "large"
    made = Ensemble(members=[member]).fit_panel(hourly, horizon=24, split=chronological_split(hourly))
    save_artifact(made, hourly.schema, folder)
    return folder


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_the_process_stays_as_large_as_its_budget_while_many_are_served(
    make: Make, large: Path, tmp_path: Path, hourly: Panel, good_request: dict[str, Any]
) -> None:
    names = [f"plant-{n}" for n in range(16)]
    models = tuple(ServedModel(name=name, version="1.0.0", uri=str(large)) for name in names)
    spec = GraphSpec(models=models, limits=LIMITS, cache_dir=str(tmp_path), safety=SafetySpec())
    size_bytes = next(weights(spec)).size_bytes
    replica = make(replace(spec, model_memory_bytes=3 * size_bytes))
    rows = {"series": good_request["series"]}
    told_of(replica.ask(rows, names[0]))
    before_bytes = resident_bytes()
    for name in names * 2:
        told_of(replica.ask({**rows, "levels": [0.2, 0.8]}, name, horizon=1 + names.index(name) % 24))
    assert replica.count(MODEL_LOADS) > 25
    # Three are there before and after; two at once may be loaded twice over: from the file, and into the trees.
    assert resident_bytes() - before_bytes < 3 * size_bytes < len(names) * size_bytes / 5


def test_the_heap_tells_what_was_taken(tmp_path: Path) -> None:
    before_bytes = heap_bytes()
    held, grown_bytes = weigh(lambda: np.ones(1_000_000), tmp_path)
    assert abs(grown_bytes - held.nbytes) < 0.01 * held.nbytes
    del held
    assert heap_bytes() - before_bytes < 1_000_000
    (tmp_path / "file").write_bytes(b"x" * 5000)
    assert weigh(lambda: None, tmp_path)[1] >= 5000, "never less than its files"
