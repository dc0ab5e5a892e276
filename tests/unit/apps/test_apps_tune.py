"""`heliotrope tune`: what it refuses before it starts anything, what it shows, how a sweep is asked for."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from apps.cli.main import app
from apps.cli.trial_screen import TrialScreen
from apps.pipelines.recipe import default_recipe
from apps.pipelines.search import Asked, Search
from apps.pipelines.sweep import sweep_command, sweep_environment
from cluster.errors import ConfigError, HeliotropeError, UnknownNameError
from cluster.settings import Settings
from training.data.bundled import load_sample
from tuning.budget import Budget
from tuning.folds import FoldsSpec
from tuning.goal import Goal
from tuning.ledger import Open, Standing
from tuning.proposer import Proposal
from tuning.records import StudyResult, TrialRecord, TrialStatus
from tuning.spent import Spent


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        (["--objective", "accuracy"], UnknownNameError, "unknown objective 'accuracy'"),
        (
            ["--bound", "latency_p99_ms=5"],
            ConfigError,
            "a constraint: got 'latency_p99_ms=5', expected METRIC<=NUMBER",
        ),
        (["--budget", "fast"], UnknownNameError, "unknown budget 'fast'"),
        (["--minutes", "0"], ConfigError, "'wall_s': got 0.0, expected a finite number, above 0"),
        (["--stopping", "asha"], ConfigError, "'stopping': got 'asha', expected one of"),
        (["--search", "grid"], UnknownNameError, "unknown search 'grid'"),
        (["--fold-window", "rolling"], ConfigError, "'fold_window': got 'rolling'"),
        (["--energy", "guess"], ConfigError, "'energy': got 'guess'"),
        (["--trial-timeout-s", "0"], ConfigError, "'timeout_s': got 0.0"),
        (["--name", "../up"], ConfigError, "study name: got '../up'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    options: list[str], kind: type[HeliotropeError], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ML_HOME", str(tmp_path))
    error = CliRunner().invoke(app, ["tune", "gas_turbine", *options]).exception
    assert isinstance(error, kind)
    assert message in error.message


def test_another_goal_is_another_study_and_more_trials_are_the_same() -> None:
    panel = load_sample("gas_turbine").for_target("NOX")
    recipe = default_recipe(panel.schema, "NOX", 4)
    few, many = (Asked(budget=Budget(trials=trials)).spec(recipe, panel).name for trials in (2, 20))
    assert few == many
    budget = Budget(trials=2)
    others = [
        Asked(budget=budget, folds=FoldsSpec(count=2)),
        Asked(budget=budget, goal=Goal(objectives=("wape", "size_bytes"))),
        Asked(budget=budget, stopping="median"),
    ]
    assert len({few, *(each.spec(recipe, panel).name for each in others)}) == 4


def record(number: int, score: float | None, error: str = "") -> TrialRecord:
    status = TrialStatus.FAILED if error else TrialStatus.FINISHED
    curve = ((1, 0.5), (2, 0.4))
    return TrialRecord(
        number=number, model="lstm", params={}, draw={}, status=status, score=score, curve=curve, error=error,
        ended_at_s=float(number), duration_s=1.5,
    )  # fmt: skip


def standings() -> list[Standing]:
    ended = (record(0, 0.125), record(1, None, "ValueError: [no]"))
    proposal = Proposal(number=2, model="xgboost", params={}, draw={})
    running = Open(proposal=proposal, started_at_s=0.0, curve=[(10, 0.25)])
    first = Standing(ended=(), running=(), best=None, spent=Spent())
    return [first, Standing(ended=ended, running=(running,), best=ended[0], spent=Spent(trials=2))]


def test_a_terminal_shows_a_table_of_trials() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with TrialScreen(console) as screen:
        screen.update("search on Ray", 0.5, 1.0, "half")
        for standing in standings():
            screen.show(standing)
    text = console.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO above
    assert "search on Ray       50%  half" in text
    for shown in ("0.1250", "failed", "(0.2500)", "xgboost"):
        assert shown in text


def test_elsewhere_a_line_a_trial_is_printed_once() -> None:
    console = Console(file=io.StringIO(), width=120)
    with TrialScreen(console) as screen:
        for standing in (*standings(), standings()[-1]):
            screen.show(standing)
        screen.update("search on Ray", 1.0, 1.0, "2 trials")
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]  # it is the StringIO above
    assert [line.split()[:4] for line in lines[:2]] == [
        ["trial", "0", "lstm", "finished"],
        ["trial", "1", "lstm", "failed"],
    ]
    assert lines[1].endswith("ValueError: [no]")
    assert len(lines) == 3


def test_a_sweep_is_the_command_on_the_same_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.from_environment({"ML_HOME": str(tmp_path / "my home")})
    command = sweep_command(settings, ["gas_turbine", "--trials", "3"])
    assert command[:2] == ["env", f"ML_HOME={tmp_path / 'my home'}"]
    assert command[-4:] == ["tune", "gas_turbine", "--trials", "3"]
    monkeypatch.setenv("ML_CPU_POWER_W", "7")
    monkeypatch.setenv("OTHER", "1")
    assert sweep_environment()["ML_CPU_POWER_W"] == "7"
    assert "OTHER" not in sweep_environment()


def test_a_table_shows_what_was_searched_in_three_digits() -> None:
    trial = TrialRecord(
        number=0, model="lstm", params={"seed": 0, "rate": 0.0123456, "sizes": [8, 4]},
        draw={"rate": 0.01, "sizes": 1}, status=TrialStatus.FINISHED, score=0.1,
    )  # fmt: skip
    found = Search(result=StudyResult(name="s", best=trial, trials=(trial,)))
    assert found.short_rows()[0]["params"] == "rate=0.0123, sizes=[8, 4]"


def test_an_interrupted_search_ends_what_was_to_follow() -> None:
    best = record(0, 0.1)
    ended = StudyResult(name="s", best=best, trials=(best,))
    assert Search(result=ended).whole().result is ended
    with pytest.raises(KeyboardInterrupt):
        Search(result=replace(ended, interrupted=True)).whole()
