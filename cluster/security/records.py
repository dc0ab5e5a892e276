"""What is kept of an API key: everything but the key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from cluster.security.api_key import ID_LENGTH, old_key_id
from cluster.security.identity import Identity, Scope
from cluster.security.roles import Permission, Role

_SHA256 = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(rf"[0-9a-f]{{{ID_LENGTH}}}")


@dataclass(frozen=True, kw_only=True)
class Secret:
    """One of the secrets that open a record: the present one, or an old one during a rotation.

    Parameters
    ----------
    sha256
        Of the whole key, hexadecimal.
    created_s
        Seconds since the epoch.
    ends_s
        From when it opens nothing; None for the present one.
    """

    sha256: str
    created_s: float
    ends_s: float | None = None

    def __post_init__(self) -> None:
        if not _SHA256.fullmatch(self.sha256):
            raise ValueError("a sha256 has another form")

    def opens(self, now_s: float) -> bool:
        """Say whether it is still good."""
        return self.ends_s is None or now_s < self.ends_s


@dataclass(frozen=True, kw_only=True)
class KeyRecord:
    """A key as the store has it.

    Parameters
    ----------
    key_id
        Public part, as it stands in the key.
    name
        Whom it belongs to.
    role
        What it may do at most.
    scope
        What it may do of that.
    secrets
        Digests, the present one first.
    expires_s
        From when it opens nothing; None for never.
    revoked_s
        Since when it is revoked; None where it is not.
    """

    key_id: str
    name: str
    role: Role
    secrets: tuple[Secret, ...]
    scope: Scope = field(default_factory=Scope)
    expires_s: float | None = None
    revoked_s: float | None = None

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.key_id) or not self.secrets or not self.name:
            raise ValueError("a key record needs an id, a name and a digest")

    @property
    def identity(self) -> Identity:
        """Who somebody with this key is."""
        return Identity(key_id=self.key_id, name=self.name, role=self.role, scope=self.scope)

    def state(self, now_s: float) -> str:
        """Return `active`, `rotating` (an old secret still opens it), `expired` or `revoked`."""
        if self.revoked_s is not None:
            return "revoked"
        if self.expires_s is not None and now_s >= self.expires_s:
            return "expired"
        return "rotating" if sum(each.opens(now_s) for each in self.secrets) > 1 else "active"

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dict; times in UTC, ISO 8601, as people read the file."""
        return {
            "id": self.key_id,
            "name": self.name,
            "role": str(self.role),
            "scope": {
                "permissions": sorted(self.scope.permissions),
                "models": list(self.scope.models),
                "routes": list(self.scope.routes),
            },
            "expires_at": iso(self.expires_s),
            "revoked_at": iso(self.revoked_s),
            "secrets": [
                {"sha256": each.sha256, "created_at": iso(each.created_s), "ends_at": iso(each.ends_s)}
                for each in self.secrets
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave, or an entry from before ids; raise ValueError, KeyError or TypeError."""
        if "identity" in data:
            return cls._from_old(data)
        scope = data["scope"]
        return cls(
            key_id=data["id"],
            name=data["name"],
            role=Role(data["role"]),
            scope=Scope(
                permissions=frozenset(Permission(each) for each in scope["permissions"]),
                models=tuple(scope["models"]),
                routes=tuple(scope["routes"]),
            ),
            expires_s=seconds(data["expires_at"]),
            revoked_s=seconds(data["revoked_at"]),
            secrets=tuple(
                Secret(
                    sha256=each["sha256"],
                    created_s=seconds(each["created_at"]) or 0.0,
                    ends_s=seconds(each["ends_at"]),
                )
                for each in data["secrets"]
            ),
        )

    @classmethod
    def _from_old(cls, data: Mapping[str, Any]) -> Self:
        # The roles were `forecast` and `read`. A key of one of them alone may do exactly what it could.
        known = {"forecast": Permission.FORECAST, "read": Permission.READ_MODELS}
        wanted = {known[role] for role in data["roles"]}
        only = frozenset({Permission.FORECAST}) if wanted == {Permission.FORECAST} else frozenset()
        return cls(
            key_id=old_key_id(data["sha256"]),
            name=data["identity"],
            role=Role.PREDICTOR if Permission.FORECAST in wanted else Role.VIEWER,
            scope=Scope(permissions=only),
            secrets=(Secret(sha256=data["sha256"], created_s=seconds(data["created_at"]) or 0.0),),
        )


def iso(time_s: float | None) -> str | None:
    """Return a time as UTC, ISO 8601, to the second."""
    return None if time_s is None else datetime.fromtimestamp(time_s, UTC).isoformat(timespec="seconds")


def seconds(text: str | None) -> float | None:
    """Return seconds since the epoch of an ISO 8601 time with a zone."""
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"'{text}' has no time zone")
    return moment.timestamp()
