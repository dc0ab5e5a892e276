"""Artifacts: what is written, what is refused, and states as bytes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cluster.errors import ArtifactCorrupt, SignatureMismatch, UnknownNameError
from training.core.artifact import (
    MANIFEST,
    STATE,
    file_digest,
    from_bytes,
    load_artifact,
    save_artifact,
    to_bytes,
    verify,
)
from training.core.candidate import SCHEMA, Candidate
from training.core.schema import Schema
from training.models import MODELS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_artifact(Candidate(MODELS, "seasonal_naive").model, SCHEMA, tmp_path / "artifact")
    return tmp_path / "artifact"


def rewrite(folder: Path, **changes: object) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_manifest_says_what_it_is(folder: Path) -> None:
    manifest = verify(folder)
    assert manifest.model == "seasonal_naive"
    assert Schema.from_json(manifest.schema) == SCHEMA
    assert manifest.schema_digest == SCHEMA.digest()
    assert {"python", "numpy", "xgboost"} <= set(manifest.libraries)
    assert set(manifest.files) == {path.name for path in folder.iterdir()} - {MANIFEST}


def test_an_artifact_is_never_overwritten(folder: Path) -> None:
    with pytest.raises(FileExistsError):
        save_artifact(Candidate(MODELS, "seasonal_naive").model, SCHEMA, folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / STATE).unlink()
    with pytest.raises(ArtifactCorrupt, match=f"file {STATE} is corrupt: got sha256 no file"):
        load_artifact(folder, MODELS)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', "not json"])
def test_an_unreadable_manifest_is_corrupt(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text)
    with pytest.raises(ArtifactCorrupt, match=MANIFEST):
        verify(folder)


def test_another_layout_is_refused(folder: Path) -> None:
    rewrite(folder, format=99)
    with pytest.raises(SignatureMismatch, match="layout 99"):
        verify(folder)


def test_a_model_that_is_not_listed_is_refused(folder: Path) -> None:
    state = json.loads((folder / STATE).read_text()) | {"name": "os.system"}
    (folder / STATE).write_text(json.dumps(state))
    digest = file_digest(folder / STATE)
    rewrite(folder, files=json.loads((folder / MANIFEST).read_text())["files"] | {STATE: digest})
    with pytest.raises(UnknownNameError, match=r"unknown model 'os\.system'"):
        load_artifact(folder, MODELS)


def test_a_state_survives_as_bytes() -> None:
    state = {
        "n": 3,
        "x": 0.1,
        "none": None,
        "list": [1, "two", {"deep": np.arange(3)}],
        "arrays": {"f": np.ones((2, 2), dtype=np.float32), "bytes": np.frombuffer(b"ab", dtype=np.uint8)},
    }
    back = from_bytes(to_bytes(state))
    assert back["n"] == 3
    assert back["x"] == 0.1
    assert back["none"] is None
    assert back["list"][:2] == [1, "two"]
    assert np.array_equal(back["list"][2]["deep"], np.arange(3))
    assert back["arrays"]["f"].dtype == np.float32
    assert back["arrays"]["bytes"].tobytes() == b"ab"
