"""What should run: applications and their specifications."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from cluster.state.machine import Json, Machine, plain


@dataclass(frozen=True, kw_only=True)
class Want:
    """Let an application run by a specification.

    Parameters
    ----------
    name
        The application.
    spec
        JSON, opaque here.
    """

    name: str
    spec: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Drop:
    """Let an application run no longer."""

    name: str


class DesiredState(Machine[Want | Drop]):
    """Application name -> specification and version; versions rise over all applications and never repeat."""

    kind = "desired-state"

    def __init__(self) -> None:
        self.applications: dict[str, dict[str, Any]] = {}
        self.version = 0

    def apply(self, command: Want | Drop, now_s: float) -> Json:  # noqa: ARG002 - no command here depends on it
        """Answer Want with `version` (the old one where nothing changed), Drop with `dropped`."""
        match command:
            case Want():
                return {"version": self._want(command.name, plain(dict(command.spec)))}
            case Drop():
                gone = self.applications.pop(command.name, None)
                self.version += gone is not None
                return {"dropped": gone is not None}

    def _want(self, name: str, spec: dict[str, Any]) -> int:
        known = self.applications.get(name)
        if known is not None and known["spec"] == spec:
            return int(known["version"])
        self.version += 1
        self.applications[name] = {"spec": spec, "version": self.version}
        return self.version

    def to_json(self) -> Json:
        """Return the whole state."""
        return {"version": self.version, "applications": self.applications}

    @classmethod
    def from_json(cls, state: Json) -> Self:
        """Rebuild what `to_json` gave."""
        self = cls()
        self.version, self.applications = state["version"], state["applications"]
        return self
