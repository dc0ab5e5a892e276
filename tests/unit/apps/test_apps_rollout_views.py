"""What people see of a rollout: a table, a line a step, a picture."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from apps.cli.rollouts import _parameter, _reason, _step, screen
from apps.reports.rollout_plots import draw_rollout
from apps.reports.rollout_story import RISES, story
from cluster.errors import ConfigError
from serve_deployments.experiments.exposure_log import ExposureLog
from serve_deployments.rollout.board import TrafficBoard
from serve_deployments.rollout.desk import Desk
from serve_deployments.rollout.judge import JudgeSpec
from serve_deployments.rollout.machine import Deploy, Done, Look, Rollouts
from serve_deployments.rollout.rollout import RolloutSpec
from serve_deployments.rollout.tally import Tally


class OneState:
    """A machine in memory."""

    def __init__(self) -> None:
        self.machine, self.now_s = Rollouts(), 0.0

    def do(self, command: Any, command_id: str | None = None) -> Any:
        self.now_s += 30.0
        return self.machine.apply(command, self.now_s)

    def state(self) -> Any:
        return self.machine.to_json()


@pytest.fixture
def told(tmp_path: Path) -> dict[str, Any]:
    """A rollout that was rolled back for its errors, as HTTP tells it."""
    state = OneState()
    policy = {"name": "canary", "parameters": {"min_stage_s": 60.0}}
    spec = RolloutSpec(id="r", model="nox", old="1.0.0", new="1.1.0", policy=policy, judge=JudgeSpec(), by="ann")
    state.do(Deploy(spec=spec))
    state.do(Done(rollout="r", effect=state.state()["r"]["effects"][0]["id"]))
    tally = Tally()
    for place in range(400):
        new = place % 20 == 0
        tally.answered("new" if new else "old", duration_s=0.01, failed=new, segments=("graz",))
        if place % 100 == 0:
            state.do(Look(rollout="r", tallies={"1": deepcopy(tally.counts)}))
    state.do(Look(rollout="r", tallies={"1": tally.counts}))
    board = TrafficBoard(ExposureLog(tmp_path / "log.sqlite"))
    desk = Desk(state, state, board, profile="production", act=lambda *_: None)
    found: dict[str, Any] = desk.rollout("r")
    return found


def test_the_screen_tells_state_weight_and_evidence(told: dict[str, Any]) -> None:
    console = Console(width=160, record=True)
    console.print(screen(told))
    text = " ".join(console.export_text().split())
    assert "nox: 1.1.0 over 1.0.0, canary, stage 1, weight 0%, rolled back" in text
    assert "error_rate" in text and "####" in text


def test_steps_and_reasons_are_sentences(told: dict[str, Any]) -> None:
    assert _step(told["history"][0]) == "created by ann, weight 0%"
    assert _step(told["history"][1]) == "started, weight 5%"
    assert _reason(told).startswith("error_rate: new 1, old 0, allowed 0.01; evidence 1 : ")


def test_the_story_is_told_from_the_rise_to_the_end(told: dict[str, Any]) -> None:
    lines = story(told)
    assert lines[0] == "nox: 1.1.0 over 1.0.0 (canary), rolled back"
    assert lines[1] == "      0.0 s    0%  created by ann"
    words = ("started", "of the evidence that error_rate asks for", "rolling back: error_rate", "rolled back: ")
    order = [next(place for place, line in enumerate(lines) if word in line) for word in words]
    assert order == sorted(order)
    assert sum("asks for" in line for line in lines) <= RISES
    many = told | {"curve": told["curve"][:1] * 100}
    assert sum("asks for" in line for line in story(many)) == RISES
    pair = {"request_id": "abc", "difference_ratio": 0.5}
    assert story(told | {"worst_pairs": [pair]})[-1].endswith("abc differs most: by 50.0% on average")
    assert story(told | {"worst_pairs": [pair | {"difference_ratio": 0.0}]}) == lines


def test_the_evidence_is_drawn(told: dict[str, Any]) -> None:
    picture = draw_rollout(told)
    assert picture.startswith(b"\x89PNG") and len(picture) > 5000
    assert draw_rollout(told | {"curve": []}).startswith(b"\x89PNG")


def test_parameters_are_numbers_and_lists() -> None:
    assert _parameter("min_stage_s=60") == ("min_stage_s", 60)
    assert _parameter("weights=0.05,0.5,1") == ("weights", [0.05, 0.5, 1])
    for wrong in ("weights", "weights=a"):
        with pytest.raises(ConfigError, match="--parameter"):
            _parameter(wrong)
