"""A study's folder: what may go on, what may not, and what is named when it is broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.errors import ArtifactCorrupt, ConfigError
from cluster.storage.files import Storage
from tuning.journal import Journal
from tuning.records import TrialRecord, TrialStatus

FACTS = {"horizon": 4, "models": ({"name": "m", "params": {"a": (1, 2)}},)}
RECORD = TrialRecord(
    number=0,
    model="m",
    params={"a": [1]},
    draw={"a": 0},
    status=TrialStatus.FINISHED,
    score=0.5,
    metrics={"wape": 0.5},
)


def journal(folder: Path) -> Journal:
    return Journal(Storage(str(folder)), "s")


def test_what_was_written_is_read(tmp_path: Path) -> None:
    first = journal(tmp_path)
    assert first.open(FACTS, {"spaces": {}}) == {}
    first.write(RECORD)
    assert journal(tmp_path).open(FACTS) == {0: RECORD}
    assert first.head()["about"] == {"spaces": {}}


def test_another_study_of_the_same_name_is_refused(tmp_path: Path) -> None:
    journal(tmp_path).open(FACTS)
    assert journal(tmp_path).open(FACTS) == {}
    with pytest.raises(ConfigError, match="another horizon: got 5, expected 4; choose another name"):
        journal(tmp_path).open({**FACTS, "horizon": 5})


def test_two_at_once_are_refused_and_one_after_the_other_is_fine(tmp_path: Path) -> None:
    with (
        journal(tmp_path).alone(),
        pytest.raises(ConfigError, match=r"study 's' is running already in process \d+; wait for it"),
        journal(tmp_path).alone(),
    ):
        pass
    with journal(tmp_path).alone():
        assert journal(tmp_path).open(FACTS) == {}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "trial-00000.json",
            '{"number": 0',
            r"trial-00000\.json cannot be read .*remove it to run its trial again",
        ),
        ("trial-00000.json", "[]", r"trial-00000\.json cannot be read"),
        ("trial-00000.json", '{"number": 0, "colour": "red"}', r"trial-00000\.json cannot be read"),
        ("trial-00007.json", RECORD.to_json().decode(), r"trial-00007\.json is trial 0's; remove it"),
        ("study.json", "{", r"study\.json cannot be read .*remove the folder"),
        ("study.json", "{}", r"study\.json cannot be read .*remove the folder"),
        ("study.json", None, r"has trials but no study\.json; restore it"),
    ],
    ids=["torn", "of another kind", "unknown field", "misplaced", "torn head", "empty head", "no head"],
)
def test_a_corrupted_folder_is_named(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    journal(tmp_path).open(FACTS)
    journal(tmp_path).write(RECORD)
    path = tmp_path / "studies" / "s" / name
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_text(content)
    with pytest.raises(ArtifactCorrupt, match=message):
        journal(tmp_path).open(FACTS)
