"""The registry's port: named versions of folders, promoted on evidence."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cluster.errors import ArtifactCorrupt, ConfigError, GateRefused
from cluster.registry.version import Lineage, ModelVersion, SemanticVersion, Stage

EVALUATION, APPROVAL = "evaluation", "approval"

GATES: Mapping[Stage, tuple[str, ...]] = MappingProxyType(
    {
        Stage.CANDIDATE: (),
        Stage.STAGING: (EVALUATION,),
        Stage.PRODUCTION: (EVALUATION, APPROVAL),
        Stage.ARCHIVED: (),
    }
)
"""Stage -> the evidence it asks for: what a judge measured, and who or what said yes."""


class Registry(ABC):
    """Keeps versions; knows nothing of what is in the files."""

    @abstractmethod
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
        """Store the folder's files as the next version of `name`, a candidate.

        The number follows from the lineage: another schema than the newest version's is a major change, other
        parameters or code a minor one, anything else a patch. The first is 1.0.0. The same files with the same
        lineage are the version that is there already.

        Parameters
        ----------
        name
            Letters, digits, `_`, `-` and `.`.
        folder
            Its files travel, subfolders too.
        lineage, metrics, owner
            See ModelVersion.
        evidence
            JSON-able facts that a later promotion may count on.

        Raises
        ------
        ConfigError
            The name is not usable, or the folder is missing or empty.
        TransientError
            The registry does not answer.
        """

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Return the registered names, sorted."""

    @abstractmethod
    def versions(self, name: str) -> tuple[ModelVersion, ...]:
        """Return the versions of `name`, oldest first; raise UnknownNameError with the known names."""

    @abstractmethod
    def get(self, name: str, version: SemanticVersion | None = None) -> ModelVersion:
        """Return one version: the one in production when None is asked for, else the newest.

        Raises
        ------
        UnknownNameError
            The name or the version is not there; the message lists what is.
        """

    @abstractmethod
    def promote(
        self, name: str, version: SemanticVersion, stage: Stage, evidence: Mapping[str, Any] | None = None
    ) -> ModelVersion:
        """Move a version to a stage; the one that was in production before becomes archived in the same moment.

        Parameters
        ----------
        name, version
            Which.
        stage
            Where to.
        evidence
            Added to what the version carries.

        Raises
        ------
        GateRefused
            Evidence that the stage asks for is missing.
        """

    @abstractmethod
    def fetch(self, version: ModelVersion, folder: Path) -> Path:
        """Download the files into the new `folder` and return it; nothing is left there when a file is corrupt.

        Raises
        ------
        ArtifactCorrupt
            A file is missing or has another sha256 than it was registered with; the message names it.
        """


def check_gate(version: ModelVersion, stage: Stage, evidence: Mapping[str, Any]) -> None:
    """Raise GateRefused unless `evidence` has all that `stage` asks for."""
    asked = GATES[stage]
    missing = [name for name in asked if not evidence.get(name)]
    if missing:
        got = ", ".join(sorted(evidence)) or "nothing"
        raise GateRefused(
            f"'{version.name}' {version.version} is not promoted to {stage.value}: evidence "
            f"{', '.join(missing)} is missing; got {got}, expected {', '.join(asked)}; give it to promote()",
            name=version.name,
            version=str(version.version),
            stage=stage.value,
            missing=missing,
            expected=list(asked),
        )


def digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file below `folder`; raise ConfigError where there is none."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        raise ConfigError(
            f"nothing to register: got '{folder}' without files, expected an artifact's folder", folder=str(folder)
        )
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in files}


def check_files(version: ModelVersion, folder: Path) -> None:
    """Raise ArtifactCorrupt that names the first file of `version` that is not in `folder` as registered."""
    for name, expected in version.files.items():
        path = folder / name
        got = _sha256(path) if path.is_file() else "no file"
        if got != expected:
            raise ArtifactCorrupt(
                f"'{version.name}' {version.version}: file {name} is corrupt: got sha256 {got}, expected "
                f"{expected}; restore {version.uri} from a backup or register the version again",
                file=name,
                got=got,
                expected=expected,
                uri=version.uri,
            )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
