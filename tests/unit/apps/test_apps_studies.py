"""A study read from its folder: explained, drawn, listed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from apps.cli.main import app
from apps.reports.study_report import write_study
from cluster.errors import UnknownNameError
from cluster.storage.files import Storage
from training.core.space import Choice, Real, Space, When, Whole, parameters
from tuning.history import History, space_facts, studies
from tuning.importance import importances
from tuning.journal import Journal
from tuning.records import TrialRecord, TrialStatus

SPACE: Space = {
    "rate": Real(1e-4, 1.0, log=True),
    "depth": Whole(1, 9),
    "kind": Choice(("a", ("b", 2), "c")),
    "share": Real(0.0, 1.0, when=When("kind", (("b", 2),))),
}


def draw(rng: np.random.Generator) -> dict[str, float | int]:
    chosen: dict[str, float | int] = {
        "rate": float(10 ** rng.uniform(-4, 0)),
        "depth": int(rng.integers(1, 10)),
        "kind": int(rng.integers(3)),
    }
    return chosen | ({"share": float(rng.random())} if chosen["kind"] == 1 else {})


def record(number: int, rng: np.random.Generator) -> TrialRecord:
    """A trial whose score hangs on the rate, a little on the depth, and on nothing else."""
    chosen = draw(rng)
    score = abs(np.log10(chosen["rate"]) + 2) + 0.1 * chosen["depth"] / 9
    status = (
        TrialStatus.FAILED if number % 9 == 8 else TrialStatus.STOPPED if number % 9 == 7 else TrialStatus.FINISHED
    )
    done = status is TrialStatus.FINISHED
    return TrialRecord(
        number=number,
        model="m",
        params=json.loads(json.dumps(parameters(SPACE, chosen))),
        draw=chosen,
        status=status,
        score=float(score) if done else None,
        metrics={"wape": float(score), "latency_p99_ms": 10.0 - chosen["depth"]} if done else {},
        error="" if status is not TrialStatus.FAILED else "ValueError: <b>no</b>",
    )


@pytest.fixture
def history(tmp_path: Path) -> History:
    journal = Journal(Storage(str(tmp_path / "storage")), "s")
    goal = {"objectives": ["wape", "latency_p99_ms"], "bounds": []}
    journal.open({"goal": goal}, {"spaces": {"m": space_facts(SPACE), "plain": {}}})
    rng = np.random.default_rng(0)
    for number in range(40):
        journal.write(record(number, rng))
    return History.read(Storage(str(tmp_path / "storage")), "s")


def test_a_space_survives_its_journey_through_json(history: History) -> None:
    assert history.spaces == {"m": SPACE, "plain": {}}


def test_an_unknown_study_is_named_with_those_that_are_there(history: History, tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "storage"))
    assert studies(storage) == ("s",)
    with pytest.raises(UnknownNameError, match=r"unknown study 't'.*: s"):
        History.read(storage, "t")


def test_what_mattered_is_found(history: History) -> None:
    found = importances(history.finished(), history.spaces)
    shares = {each.parameter: each.share for each in found}
    assert found[0].parameter == "rate"
    assert shares["rate"] > 0.8
    assert set(shares) == {"rate", "depth", "kind"}
    assert sum(shares.values()) == pytest.approx(1.0)
    assert importances(history.finished()[:3], history.spaces) == []


def test_a_study_is_drawn_and_told_on_one_page(history: History, tmp_path: Path) -> None:
    paths = write_study(history, tmp_path / "drawn")
    names = [path.name for path in paths]
    assert names == ["history.png", "front.png", "parallel-m.png", "slices-m.png", "study.html"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths[:-1])
    text = paths[-1].read_text()
    assert text.count("data:image/png") == 4
    assert "ValueError: &lt;b&gt;no&lt;/b&gt;" in text


def test_the_command_line_lists_shows_and_explains(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ML_HOME", str(tmp_path))
    run = CliRunner().invoke
    listed = json.loads(run(app, ["studies", "list", "--json"]).stdout)
    assert [(each["study"], each["trials"], each["finished"]) for each in listed] == [("s", 40, 32)]
    broken = tmp_path / "storage" / "studies" / "broken"
    broken.mkdir()
    (broken / "study.json").write_text("{")
    first = json.loads(run(app, ["studies", "list", "--json"]).stdout)[0]
    assert (first["study"], first["trials"]) == ("broken", None)
    assert "studies/broken/study.json cannot be read" in first["fault"]
    shown = json.loads(run(app, ["studies", "show", "s", "--json"]).stdout)
    assert shown["best"]["score"] == min(each.score or 9.0 for each in history.finished())
    assert len(shown["trials"]) == 40
    explained = json.loads(run(app, ["studies", "explain", "s", "--json"]).stdout)
    assert explained[0]["parameter"] == "rate"
    drawn = run(app, ["studies", "draw", "s", str(tmp_path / "drawn")])
    assert drawn.exit_code == 0
    assert (tmp_path / "drawn" / "study.html").is_file()
