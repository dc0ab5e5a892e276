"""What a registered version is: its number, where it came from, how far it got."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal, Self

from cluster.errors import UserError

Change = Literal["major", "minor", "patch"]

_NUMBER = re.compile(r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})")


@dataclass(frozen=True, order=True)
class SemanticVersion:
    """Three numbers, ordered from left to right.

    Parameters
    ----------
    major
        Counts changes of the schema: callers must send other data.
    minor
        Counts changes of parameters or code: same data, another model.
    patch
        Counts everything else: the same recipe, fitted again.
    """

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `1.2.3`; raise UserError for anything else."""
        match = _NUMBER.fullmatch(text)
        if match is None:
            raise UserError(
                f"a version cannot be read: got '{text}', expected MAJOR.MINOR.PATCH such as 1.0.0",
                field="version",
                got=text,
                expected="MAJOR.MINOR.PATCH",
            )
        return cls(*map(int, match.groups()))

    def next(self, change: Change) -> SemanticVersion:
        """Return the version that follows a change of this weight."""
        if change == "major":
            return SemanticVersion(self.major + 1, 0, 0)
        if change == "minor":
            return SemanticVersion(self.major, self.minor + 1, 0)
        return SemanticVersion(self.major, self.minor, self.patch + 1)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


FIRST = SemanticVersion(1, 0, 0)


class Stage(StrEnum):
    """How far a version got. `PRODUCTION` belongs to one version of a name at a time."""

    CANDIDATE = "candidate"
    STAGING = "staging"
    PRODUCTION = "production"
    ARCHIVED = "archived"


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """Where a version came from: enough to make it again.

    Parameters
    ----------
    data_digest
        sha256 of the data it was made from.
    schema_digest
        sha256 of that data's schema.
    parameters
        JSON-able settings.
    seed
        Seed of every random draw.
    code_revision
        Revision of the code, `-dirty` where it was not committed.
    libraries
        Package -> version.
    """

    data_digest: str
    schema_digest: str
    parameters: Mapping[str, Any]
    seed: int
    code_revision: str
    libraries: Mapping[str, str]

    def change_since(self, earlier: Lineage) -> Change:
        """Return how heavy the step from `earlier` to this is."""
        if self.schema_digest != earlier.schema_digest:
            return "major"
        same_recipe = self.code_revision == earlier.code_revision and json.dumps(
            self.parameters, sort_keys=True
        ) == json.dumps(earlier.parameters, sort_keys=True)
        return "patch" if same_recipe else "minor"

    def to_json(self) -> str:
        """Return canonical JSON: equal lineages give equal text."""
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Rebuild what `to_json` gave."""
        return cls(**json.loads(text))


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """A registered folder of files, and what is known of it.

    Parameters
    ----------
    name
        Registered name.
    version
        Its number.
    stage
        How far it got.
    lineage
        Where it came from.
    metrics
        What was measured before it was registered.
    owner
        Who answers for it.
    files
        File name, `/` between folders -> sha256.
    uri
        Where the files lie.
    created_at_s
        Seconds since the epoch.
    evidence
        What its promotions were founded on.
    """

    name: str
    version: SemanticVersion
    stage: Stage
    lineage: Lineage
    metrics: Mapping[str, float]
    owner: str
    files: Mapping[str, str]
    uri: str
    created_at_s: float
    evidence: Mapping[str, Any] = field(default_factory=dict)
