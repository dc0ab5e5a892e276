"""Rollouts and experiments over HTTP: the real application, durable states, a board, in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from serve_deployments.experiments.exposure_log import Exposure
from serve_deployments.ingress import build_api
from serve_deployments.rollout.machine import Done
from serve_deployments.rollout.routes import rollout_routes
from serve_deployments.service import Service

CANARY = {"id": "r1", "model": "nox", "version": "2.0.0", "why": "better"}


class Counter:
    """The HTTP application with the routes, and what was put on record."""

    def __init__(self, service: Service, connect: Callable[[Any], Any], office: Any, profile: str) -> None:
        self.acts: list[tuple[str, str, str]] = []
        self.rollouts, self.board = office.rollouts, office.board
        desk = office.desk(profile=profile, act=self._act)
        self.http = connect(build_api(service, more=[rollout_routes(lambda: desk)]))

    def _act(self, actor: str, action: str, target: str, details: Mapping[str, Any]) -> None:
        self.acts.append((actor, action, target))

    def post(self, path: str, body: Any, status: int = 200) -> Any:
        answer = self.http.post(path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def get(self, path: str, status: int = 200) -> Any:
        answer = self.http.get(path)
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture
def counter(
    service: Service, connect: Callable[[Any], Any], office_in: Callable[[Path], Any], tmp_path: Path
) -> Counter:
    return Counter(service, connect, office_in(tmp_path), "production")


def test_a_rollout_is_begun_seen_ordered_and_remembered(counter: Counter) -> None:
    assert counter.post("/api/deployments", CANARY)["state"] == "preparing"
    assert counter.post("/api/deployments", CANARY)["state"] == "preparing"
    effect = counter.rollouts.state()["r1"]["effects"][0]["id"]
    counter.rollouts.do(Done(rollout="r1", effect=effect))
    seen = counter.get("/api/deployments/r1")
    assert (seen["old"], seen["state"], seen["weights"]) == ("1.0.0", "running", {"2.0.0": 0.05, "1.0.0": 0.95})
    assert seen["ratio_intervals"]["error_rate"] == [0.0, None] and seen["worst_pairs"] == []
    assert [each["id"] for each in counter.get("/api/deployments")["deployments"]] == ["r1"]
    assert counter.post("/api/deployments/r1/pause", {"why": "lunch"})["paused"]
    assert not counter.post("/api/deployments/r1/resume", {})["paused"]
    assert counter.post("/api/deployments/r1/rollback", {"why": "smells"})["state"] == "verifying"
    assert counter.get("/api/deployments/history")["deployments"][0]["state"] == "verifying"
    assert counter.acts[0] == ("anybody", "rollout.deploy", "r1")
    assert ("anybody", "rollout.rollback", "r1") in counter.acts


def test_what_is_not_allowed_is_refused_in_words(counter: Counter) -> None:
    immediate = CANARY | {"policy": "immediate"}
    assert "force it" in counter.post("/api/deployments", immediate, 409)["detail"]
    assert counter.post("/api/deployments", immediate | {"force": "leak"})["state"] == "preparing"
    assert "r1" in counter.post("/api/deployments", CANARY | {"id": "r2"}, 409)["detail"]
    early = counter.post("/api/deployments/r1/promote", {}, 409)["detail"]
    assert early == "rollout 'r1': cannot promote: got state 'preparing', expected 'running'"
    assert counter.post("/api/deployments/r1/destroy", {}, 404)["errors"] == []
    assert counter.get("/api/deployments/none", 404)["title"]
    assert "canary" in counter.post("/api/deployments", CANARY | {"policy": "canari"}, 404)["detail"]
    assert "judge" in counter.post("/api/deployments", CANARY | {"judge": {"beta": 1}}, 400)["detail"]
    assert counter.post("/api/deployments", CANARY | {"id": "a/b"}, 422)["errors"][0]["field"] == "body.id"
    assert counter.post("/api/deployments", CANARY | {"model": "none"}, 404)["title"]


def test_an_experiment_is_begun_told_and_stopped(counter: Counter) -> None:
    body = {
        "id": "e1", "model": "nox", "arms": {"1.0.0": 0.5, "2.0.0": 0.5}, "control": "1.0.0",
        "metrics": [{"name": "kept", "kind": "proportion", "effect": 0.02}], "traffic": 0.5,
    }  # fmt: skip
    assert counter.post("/api/experiments", body)["slot"] == {"low": 0.0, "high": 0.5}
    assert counter.post("/api/experiments", body | {"id": "e2", "traffic": 0.6}, 409)["title"]
    assert [each["spec"]["id"] for each in counter.get("/api/experiments")["experiments"]] == ["e1"]
    assert counter.post("/api/experiments/e1/stop", {"why": "enough"})["ending"] == "stopped"
    assert counter.get("/api/experiments/e1")["detail"] == "by anybody: enough"
    assert counter.get("/api/experiments/none", 404)["title"]
    known = {"covariates": {"ann": 2.5, "bob": -1.0}}
    assert [counter.post("/api/experiments/e1/units", known)["recorded"] for _ in range(2)] == [2, 0]
    assert counter.post("/api/experiments/none/units", known, 404)["title"]
    assert counter.post("/api/experiments/e1/units", {"covariates": {}}, 422)["errors"]
    assert counter.post("/api/experiments", body | {"arms": {"1.0.0": 1.0}}, 422)["errors"]


def test_outcomes_and_truths_come_later(counter: Counter) -> None:
    shown = Exposure(request_id="q", experiment="e1", arm="1.0.0", unit="u", phase=1, at_s=0.0)
    counter.board.log.expose([shown])
    points = {"plant-1": {"NOX": [10.0, 10.0]}}
    counter.board.forecasts.keep(
        [{"request_id": "q", "owner": "r1", "revision": "1", "side": "new", "points": points}]
    )
    told = counter.post(
        "/api/outcomes", {"request_id": "q", "outcomes": {"kept": 1.0}, "truth": {"plant-1": {"NOX": [12.5]}}}
    )
    assert told == {"recorded": 1, "accuracy": 0.8}
    assert counter.post("/api/outcomes", {"request_id": "q"}, 400)["detail"].startswith("nothing to record")
    assert counter.post("/api/outcomes", {"request_id": "q", "truth": {"a": {"b": [1.0]}}}, 404)["title"]
