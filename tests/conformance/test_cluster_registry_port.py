"""What every registry does, whatever it keeps its versions in."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from cluster.errors import ArtifactCorrupt, ConfigError, GateRefused, UnknownNameError
from cluster.registry.mlflow_registry import open_registry
from cluster.registry.registry import Registry
from cluster.registry.version import Lineage, ModelVersion, SemanticVersion, Stage
from cluster.settings import Settings

LINEAGE = Lineage(
    data_digest="d", schema_digest="s", parameters={"a": 1}, seed=0, code_revision="c", libraries={"numpy": "2"}
)
YES = {"evaluation": {"wape": 0.07}, "approval": "the gate"}
FILES = {"manifest.json": b"{}", "arrays.npz": bytes(range(256)), "inner/weights.bin": b"0123456789"}

Register = Callable[..., ModelVersion]


@pytest.fixture(scope="session")
def registry_settings(registry_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("registry home")
    return Settings.from_environment({"ML_HOME": str(home), "ML_REGISTRY_URL": registry_url})


@pytest.fixture(scope="session")
def registry(registry_settings: Settings) -> Registry:
    return open_registry(registry_settings)


@pytest.fixture
def name() -> str:
    return f"model-{uuid4().hex[:8]}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return _write(tmp_path / "artifact", FILES)


@pytest.fixture
def register(registry: Registry, name: str, folder: Path) -> Register:
    def call(lineage: Lineage = LINEAGE) -> ModelVersion:
        return registry.register(name, folder, lineage=lineage, metrics={"wape": 0.07}, owner="team")

    return call


def _write(folder: Path, files: dict[str, bytes]) -> Path:
    for file, data in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(data)
    return folder


def _stages(registry: Registry, name: str) -> dict[str, Stage]:
    return {str(version.version): version.stage for version in registry.versions(name)}


def test_a_registered_version_says_everything_back(registry: Registry, name: str, folder: Path) -> None:
    made = registry.register(
        name, folder, lineage=LINEAGE, metrics={"wape": 0.07}, owner="team", evidence={"evaluation": {"wape": 0.07}}
    )
    assert registry.get(name) == made
    assert made.version == SemanticVersion(1, 0, 0)
    assert made.stage is Stage.CANDIDATE
    assert (made.lineage, made.metrics, made.owner) == (LINEAGE, {"wape": 0.07}, "team")
    assert made.evidence == {"evaluation": {"wape": 0.07}}
    assert sorted(made.files) == sorted(FILES)
    assert made.created_at_s > 1.7e9
    assert name in registry.names()


def test_numbers_follow_the_rule(register: Register) -> None:
    lineages = [
        LINEAGE,
        replace(LINEAGE, data_digest="e"),
        replace(LINEAGE, data_digest="e", parameters={"a": 2}),
        replace(LINEAGE, data_digest="e", parameters={"a": 2}, seed=9),
        replace(LINEAGE, schema_digest="t", parameters={"a": 2}),
        replace(LINEAGE, schema_digest="t", parameters={"a": 2}, code_revision="f"),
    ]
    numbers = [str(register(lineage).version) for lineage in lineages]
    assert numbers == ["1.0.0", "1.0.1", "1.1.0", "1.1.1", "2.0.0", "2.1.0"]


def test_the_same_files_and_lineage_are_one_version(
    registry: Registry, register: Register, folder: Path, name: str
) -> None:
    first = register()
    assert register() == first
    (folder / "manifest.json").write_bytes(b"{ }")
    assert register().version == SemanticVersion(1, 0, 1)
    assert len(registry.versions(name)) == 2


def test_unknown_names_and_versions_list_the_known(registry: Registry, register: Register, name: str) -> None:
    with pytest.raises(UnknownNameError):
        registry.versions(name)
    register()
    with pytest.raises(UnknownNameError, match=name):
        registry.get(f"{name}x")
    with pytest.raises(UnknownNameError, match=r"1\.0\.0"):
        registry.get(name, SemanticVersion(9, 9, 9))
    with pytest.raises(UnknownNameError):
        registry.get("it's; DROP TABLE")


@pytest.mark.parametrize("bad", ["", "a/b", "a:b", "..", "-a", "a b", "a'b", "x" * 101])
def test_unusable_names_are_refused(registry: Registry, folder: Path, bad: str) -> None:
    with pytest.raises(ConfigError, match="expected 1 to 100 letters"):
        registry.register(bad, folder, lineage=LINEAGE, metrics={}, owner="team")


def test_a_folder_without_files_is_refused(registry: Registry, name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to register"):
        registry.register(name, tmp_path / "none", lineage=LINEAGE, metrics={}, owner="team")


def test_production_belongs_to_one_version(registry: Registry, register: Register, name: str) -> None:
    first, second = register(), register(replace(LINEAGE, seed=1))
    assert registry.get(name) == second
    registry.promote(name, first.version, Stage.PRODUCTION, YES)
    assert registry.get(name).version == first.version
    promoted = registry.promote(name, second.version, Stage.PRODUCTION, YES)
    assert promoted == registry.get(name)
    assert _stages(registry, name) == {"1.0.0": Stage.ARCHIVED, "1.0.1": Stage.PRODUCTION}
    registry.promote(name, first.version, Stage.PRODUCTION)
    assert _stages(registry, name) == {"1.0.0": Stage.PRODUCTION, "1.0.1": Stage.ARCHIVED}
    registry.promote(name, first.version, Stage.ARCHIVED)
    assert registry.get(name).version == second.version


def test_a_stage_asks_for_its_evidence(registry: Registry, register: Register, name: str) -> None:
    version = register().version
    with pytest.raises(GateRefused, match="evaluation, approval is missing"):
        registry.promote(name, version, Stage.PRODUCTION)
    with pytest.raises(GateRefused, match="evaluation is missing"):
        registry.promote(name, version, Stage.STAGING, {"approval": "me"})
    registry.promote(name, version, Stage.STAGING, {"evaluation": {"wape": 0.07}})
    with pytest.raises(GateRefused, match="evidence approval is missing"):
        registry.promote(name, version, Stage.PRODUCTION)
    done = registry.promote(name, version, Stage.PRODUCTION, {"approval": "me"})
    assert done.evidence == {"evaluation": {"wape": 0.07}, "approval": "me"}
    assert registry.get(name) == done


def test_fetch_brings_the_same_bytes(registry: Registry, register: Register, tmp_path: Path) -> None:
    fetched = registry.fetch(register(), tmp_path / "deep" / "fetched")
    got = {path.relative_to(fetched).as_posix(): path.read_bytes() for path in fetched.rglob("*") if path.is_file()}
    assert got == FILES
    with pytest.raises(ConfigError, match="is there already"):
        registry.fetch(register(), fetched)


@pytest.mark.parametrize("file", sorted(FILES))
@pytest.mark.parametrize("fault", ["one byte", "cut short", "gone"])
def test_a_corrupt_file_is_refused_by_name(
    registry: Registry, register: Register, tmp_path: Path, file: str, fault: str
) -> None:
    version = register()
    stored = Path(version.uri) / file
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 1
    if fault == "gone":
        stored.unlink()
    else:
        stored.write_bytes(bytes(data) if fault == "one byte" else bytes(data[:-1]))
    with pytest.raises(ArtifactCorrupt, match=f"file {file} is corrupt") as caught:
        registry.fetch(version, tmp_path / "out")
    assert caught.value.context["file"] == file
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]


def test_lost_files_are_an_artifact_corrupt(registry: Registry, register: Register, tmp_path: Path) -> None:
    version = replace(register(), uri=str(tmp_path / "nowhere"))
    with pytest.raises(ArtifactCorrupt, match="files are gone from"):
        registry.fetch(version, tmp_path / "out")


def test_registrations_at_once_get_numbers_of_their_own(registry: Registry, register: Register, name: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda seed: register(replace(LINEAGE, seed=seed)), range(6)))
    assert sorted(str(version.version) for version in made) == [f"1.0.{patch}" for patch in range(6)]
    assert {v.version: v.lineage.seed for v in registry.versions(name)} == {v.version: v.lineage.seed for v in made}


def test_the_same_content_registered_at_once_is_one_version(
    registry: Registry, register: Register, name: str
) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: register(), range(4)))
    assert {str(version.version) for version in made} == {"1.0.0"}
    assert len(registry.versions(name)) == 1


_OTHER_PROCESS = """
import json, sys
from pathlib import Path
from cluster.registry.mlflow_registry import open_registry
from cluster.registry.version import Lineage
from cluster.settings import Settings
settings = Settings.from_environment({"ML_HOME": sys.argv[1], "ML_REGISTRY_URL": sys.argv[2]})
lineage = Lineage.from_json(sys.argv[5])
made = open_registry(settings).register(sys.argv[3], Path(sys.argv[4]), lineage=lineage, metrics={}, owner="team")
print(made.version)
"""


def test_two_processes_start_on_one_new_database(tmp_path: Path, folder: Path) -> None:
    url = f"sqlite:///{tmp_path}/new/registry.db"
    children = []
    for seed in (1, 2):
        words = [str(tmp_path), url, "m", str(folder), replace(LINEAGE, seed=seed).to_json()]
        command = [sys.executable, "-c", _OTHER_PROCESS, *words]
        children.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    printed = sorted(child.communicate(timeout=120)[0].strip() for child in children)
    assert [child.returncode for child in children] == [0, 0]
    assert printed == ["1.0.0", "1.0.1"]


def test_what_is_registered_is_seen_by_a_later_process(
    registry: Registry, registry_settings: Settings, register: Register, name: str
) -> None:
    version = register().version
    registry.promote(name, version, Stage.PRODUCTION, YES)
    assert open_registry(registry_settings).get(name) == registry.get(name)
    assert json.dumps(registry.get(name).stage) == '"production"'
