"""Versions come onto the shelf warmed up at each batch size; a broken one keeps nobody else from serving."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import ArtifactCorrupt
from serve_deployments.admission import Limits
from serve_deployments.graph import GraphSpec, ServedModel
from serve_deployments.loading import load_shelf
from serve_deployments.versions.life_cycle import Stage
from serve_deployments.versions.warm_up import sizes

LIMITS = Limits(max_body_bytes=1000, request_timeout_s=1, max_concurrent_requests=1, max_queued_requests=1)


def spec(folder: Path, *models: tuple[str, Path]) -> GraphSpec:
    served = tuple(ServedModel(name="nox", version=version, uri=str(uri)) for version, uri in models)
    return GraphSpec(models=served, limits=LIMITS, cache_dir=str(folder), max_batch_size=5)


@pytest.fixture
def broken(ensemble_folder: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "broken"
    shutil.copytree(ensemble_folder, copy)
    (copy / "state.json").write_text((copy / "state.json").read_text() + " ")
    return copy


@given(st.integers(1, 300))
def test_every_size_is_warmed_powers_of_two_first(most: int) -> None:
    wanted = sizes(most)
    assert sorted(wanted) == list(range(1, most + 1))
    powers = [size for size in wanted if size & (size - 1) == 0]
    assert wanted[: len(powers)] == powers


def test_a_version_is_warm_before_it_is_on_the_shelf(ensemble_folder: Path, tmp_path: Path) -> None:
    shelf = load_shelf(spec(tmp_path, ("1.0.0", ensemble_folder)), warm=True)
    life = shelf.lives.of("nox@1.0.0")
    assert [step.stage for step in life.steps] == [Stage.LOAD, Stage.WARM, Stage.ACTIVE]
    assert life.reason.startswith("warmed up at 5 of 5 batch sizes up to 5: ")


def test_a_broken_version_beside_the_default_is_in_error_and_the_default_serves(
    ensemble_folder: Path, broken: Path, tmp_path: Path
) -> None:
    shelf = load_shelf(spec(tmp_path, ("2.0.0", ensemble_folder), ("1.0.0", broken)))
    assert [each.version for each in shelf] == ["2.0.0"]
    life = shelf.lives.of("nox@1.0.0")
    assert life.stage is Stage.ERROR
    assert life.reason.startswith("ArtifactCorrupt: ")


def test_a_broken_default_stops_the_replica_so_that_an_update_halts(
    ensemble_folder: Path, broken: Path, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactCorrupt):
        load_shelf(spec(tmp_path, ("2.0.0", broken), ("1.0.0", ensemble_folder)))
