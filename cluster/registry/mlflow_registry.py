"""The registry on MLflow: one MLflow version for each of ours, its facts as tags that MLflow's pages show."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.errors import ArtifactCorrupt, ConfigError, UnknownNameError, UserError
from cluster.registry.experiments import RunStatus
from cluster.registry.mlflow_database import connect, pages, translated
from cluster.registry.mlflow_tracker import MlflowTracker
from cluster.registry.registry import Registry, check_files, check_gate, digests
from cluster.registry.version import FIRST, Lineage, ModelVersion, SemanticVersion, Stage
from cluster.settings import Settings
from cluster.storage.files import Storage, new_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "registry"
PREFIX = "heliotrope."
EVIDENCE = PREFIX + "evidence."
FOLDER = "model"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_KEY = re.compile(r"[A-Za-z0-9_.-]{1,100}")


class MlflowRegistry(Registry):
    """Versions in MLflow's model registry.

    Two facts are derived, so that writers need no lock and readers never see a half-made change:

    - a version's number follows from the lineages before it, in the order that MLflow's unique running numbers
      give; equal content twice is one version;
    - the version in production is the one that the alias `production` points to, and moving the alias is one
      transaction. The tag `stage` says the same for people; where a writer died between the two, the alias counts.

    Parameters
    ----------
    client
        On the database.
    registry_url
        For messages.
    storage_url
        Where files go: a folder or `s3://bucket/prefix`.
    """

    def __init__(self, client: MlflowClient, *, registry_url: str, storage_url: str) -> None:
        self._client = client
        self._url = registry_url
        self._tracker = MlflowTracker(client, registry_url=registry_url, storage_url=storage_url)

    def register(
        self,
        name: str,
        folder: Path,
        *,
        lineage: Lineage,
        metrics: Mapping[str, float],
        owner: str,
        evidence: Mapping[str, Any] | None = None,
    ) -> ModelVersion:
        """Store the folder's files as the next version of `name`; see Registry."""
        _check_name(name)
        facts = {
            "lineage": lineage.to_json(),
            "files": json.dumps(digests(folder), sort_keys=True),
            "metrics": json.dumps(dict(metrics)),
            "owner": owner,
            "stage": Stage.CANDIDATE.value,
        }
        tags = {PREFIX + key: value for key, value in facts.items()} | _evidence_tags(evidence or {})
        with translated(self._url):
            self._make_name(name)
            known = self._same_as(name, tags)
            if known is not None:
                return known
            run, uri = self._upload(name, folder, lineage, metrics)
            made = self._client.create_model_version(name, source=uri, run_id=run, tags=tags)
            number = self._settle(name, int(made.version), run)
        return self.get(name, number)

    def names(self) -> tuple[str, ...]:
        """Return the registered names, sorted."""
        with translated(self._url):
            models = pages(self._client.search_registered_models)
            return tuple(sorted(model.name for model in models if model.latest_versions))

    def versions(self, name: str) -> tuple[ModelVersion, ...]:
        """Return the versions of `name`, oldest first."""
        with translated(self._url):
            versions = self._versions(name)
        if not versions:
            raise UnknownNameError.of("model", name, self.names())
        return tuple(sorted(versions.values(), key=lambda version: version.version))

    def get(self, name: str, version: SemanticVersion | None = None) -> ModelVersion:
        """Return one version: the one in production when None is asked for, else the newest."""
        versions = self.versions(name)
        if version is None:
            return next((each for each in versions if each.stage is Stage.PRODUCTION), versions[-1])
        for each in versions:
            if each.version == version:
                return each
        raise UnknownNameError.of(f"version of '{name}'", str(version), (str(each.version) for each in versions))

    def promote(
        self, name: str, version: SemanticVersion, stage: Stage, evidence: Mapping[str, Any] | None = None
    ) -> ModelVersion:
        """Move a version to a stage; see Registry."""
        found = self.get(name, version)
        known = {**found.evidence, **(evidence or {})}
        check_gate(found, stage, known)
        with translated(self._url):
            number = self._number_of(name, version)
            for key, value in _evidence_tags(evidence or {}).items():
                self._client.set_model_version_tag(name, number, key, value)
            self._move(name, number, stage)
        return replace(found, stage=stage, evidence=known)

    def fetch(self, version: ModelVersion, folder: Path) -> Path:
        """Download the files into the new `folder`, compare each sha256, and return it."""
        if folder.exists():
            raise ConfigError(f"'{folder}' is there already; expected a new folder", folder=str(folder))
        root, _, inner = version.uri.rpartition("/")
        with new_folder(folder) as aside:
            try:
                Storage(root).download_folder(inner, aside)
            except UnknownNameError as error:
                raise ArtifactCorrupt(
                    f"'{version.name}' {version.version}: its files are gone from {version.uri}; "
                    "restore them from a backup or register the version again",
                    uri=version.uri,
                ) from error
            check_files(version, aside)
        return folder

    # -- writing -----------------------------------------------------------------------------------------------

    def _make_name(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _same_as(self, name: str, tags: Mapping[str, str]) -> ModelVersion | None:
        for number, entry in self._entries(name).items():
            if _content(entry.tags) == _content(tags):
                return self._versions(name)[number]
        return None

    def _upload(self, name: str, folder: Path, lineage: Lineage, metrics: Mapping[str, float]) -> tuple[str, str]:
        run = self._tracker.start_run(EXPERIMENT, name, lineage.parameters)
        root = self._client.get_run(run).info.artifact_uri
        try:
            self._tracker.log(run, metrics)
            Storage(root).upload_folder(folder, FOLDER)
        except BaseException:
            self._tracker.finish(run, RunStatus.FAILED)
            raise
        self._tracker.finish(run)
        return run, f"{root}/{FOLDER}"

    def _settle(self, name: str, made: int, run: str) -> SemanticVersion:
        """Write the number that follows from the lineages; give way to an equal version that came first."""
        entries = self._entries(name)
        numbers = _numbers(entries.values())
        number = numbers[made]
        first = min(at for at, entry in entries.items() if _content(entry.tags) == _content(entries[made].tags))
        if first != made:
            self._client.delete_model_version(name, str(made))
            self._client.delete_run(run)
        else:
            self._client.set_model_version_tag(name, str(made), PREFIX + "version", str(number))
        return number

    def _move(self, name: str, number: str, stage: Stage) -> None:
        holder = self._holder(name)
        alias = Stage.PRODUCTION.value
        if stage is not Stage.PRODUCTION:
            self._tag(name, number, stage)
            if holder == number:
                self._client.delete_registered_model_alias(name, alias)
            return
        if holder not in (None, number):
            # `production` without the alias reads as archived, so this must stand before the alias moves.
            self._tag(name, str(holder), Stage.PRODUCTION)
        self._client.set_registered_model_alias(name, alias, number)
        self._tag(name, number, Stage.PRODUCTION)
        if holder not in (None, number):
            self._tag(name, str(holder), Stage.ARCHIVED)

    def _tag(self, name: str, number: str, stage: Stage) -> None:
        self._client.set_model_version_tag(name, number, PREFIX + "stage", stage.value)

    # -- reading -----------------------------------------------------------------------------------------------

    def _holder(self, name: str) -> str | None:
        from mlflow.exceptions import MlflowException

        try:
            aliases = self._client.get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
        holder = aliases.get(Stage.PRODUCTION.value)
        return None if holder is None else str(holder)

    def _entries(self, name: str) -> dict[int, Any]:
        """Return MLflow's versions that this class wrote, by their running number, in its order."""
        if not _NAME.fullmatch(name):
            return {}
        found = pages(self._client.search_model_versions, filter_string=f"name='{name}'")
        entries = {int(entry.version): entry for entry in found if PREFIX + "lineage" in entry.tags}
        return dict(sorted(entries.items()))

    def _versions(self, name: str) -> dict[int, ModelVersion]:
        """Return each MLflow number's version; equal content has one, under the first number."""
        holder = self._holder(name)  # before the versions: whatever it points to is then among them
        entries = self._entries(name)
        versions: dict[SemanticVersion, tuple[int, ModelVersion]] = {}
        for at, number in _numbers(entries.values()).items():
            versions.setdefault(number, (at, _version(entries[at], number, in_production=str(at) == holder)))
        return dict(versions.values())

    def _number_of(self, name: str, version: SemanticVersion) -> str:
        return next(str(at) for at, each in self._versions(name).items() if each.version == version)


def open_registry(settings: Settings) -> MlflowRegistry:
    """Return the registry that the settings name."""
    client = connect(settings.registry_url)
    return MlflowRegistry(client, registry_url=settings.registry_url, storage_url=settings.storage_url)


def _content(tags: Mapping[str, str]) -> tuple[str, str]:
    return tags[PREFIX + "files"], tags[PREFIX + "lineage"]


def _numbers(entries: Iterable[Any]) -> dict[int, SemanticVersion]:
    """Return each entry's semantic version; where it is not written yet, the one that follows from the rule."""
    numbers: dict[int, SemanticVersion] = {}
    seen: dict[tuple[str, str], SemanticVersion] = {}
    newest: tuple[SemanticVersion, Lineage] | None = None
    for entry in entries:
        content, lineage = _content(entry.tags), Lineage.from_json(entry.tags[PREFIX + "lineage"])
        number = seen.get(content)
        if number is None:
            written = entry.tags.get(PREFIX + "version")
            if written is not None:
                number = SemanticVersion.parse(written)
            else:
                number = FIRST if newest is None else newest[0].next(lineage.change_since(newest[1]))
            newest = (number, lineage)
        seen[content] = numbers[int(entry.version)] = number
    return numbers


def _version(entry: Any, number: SemanticVersion, *, in_production: bool) -> ModelVersion:
    tags = {key.removeprefix(PREFIX): value for key, value in entry.tags.items() if key.startswith(PREFIX)}
    stage = Stage(tags["stage"])
    if in_production:
        stage = Stage.PRODUCTION
    elif stage is Stage.PRODUCTION:
        stage = Stage.ARCHIVED
    return ModelVersion(
        name=entry.name,
        version=number,
        stage=stage,
        lineage=Lineage.from_json(tags["lineage"]),
        metrics=json.loads(tags["metrics"]),
        owner=tags["owner"],
        files=json.loads(tags["files"]),
        uri=entry.source,
        created_at_s=entry.creation_timestamp / 1000,
        evidence={
            key.removeprefix(EVIDENCE): json.loads(value)
            for key, value in entry.tags.items()
            if key.startswith(EVIDENCE)
        },
    )


def _evidence_tags(evidence: Mapping[str, Any]) -> dict[str, str]:
    for key in evidence:
        if not _KEY.fullmatch(key):
            raise UserError(f"a name of evidence: got '{key}', expected letters, digits, '_', '-' and '.'", got=key)
    return {EVIDENCE + key: json.dumps(value) for key, value in evidence.items()}


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"a model's name: got '{name}', expected 1 to 100 letters, digits, '_', '-' and '.', "
            "the first a letter or a digit",
            field="name",
            got=name,
        )
