"""Who may do what: the one table of permissions, and the four roles in their order."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from cluster.errors import ConfigError


class Role(StrEnum):
    """What a key may do at most; each role may do all that the one before it may."""

    VIEWER = "viewer"
    PREDICTOR = "predictor"
    OPERATOR = "operator"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """Place in the order, the least first."""
        return _RANKS[self]


_RANKS = {role: rank for rank, role in enumerate(Role)}


class Permission(StrEnum):
    """What a route asks of a key; every route states exactly one."""

    OPEN = "open"
    """Nothing: liveness, readiness, the OpenAPI page. They tell neither data nor settings."""
    READ_MODELS = "models.read"
    READ_METRICS = "metrics.read"
    READ_RESULTS = "results.read"
    """Experiments, alarms and other stored results."""
    FORECAST = "forecast"
    EXPLAIN = "explain"
    DETECT = "detect"
    FEEDBACK = "feedback"
    """Say what was true after a prediction."""
    OPERATE = "operate"
    """Change how it runs: empty a cache, reset a breaker, pause a model."""
    ROLL_OUT = "rollout"
    """Change which version answers."""
    READ_AUDIT = "audit.read"
    MANAGE_KEYS = "keys.manage"


LOWEST: Mapping[Permission, Role | None] = MappingProxyType(
    {
        Permission.OPEN: None,
        Permission.READ_MODELS: Role.VIEWER,
        Permission.READ_METRICS: Role.VIEWER,
        Permission.READ_RESULTS: Role.VIEWER,
        Permission.FORECAST: Role.PREDICTOR,
        Permission.EXPLAIN: Role.PREDICTOR,
        Permission.DETECT: Role.PREDICTOR,
        Permission.FEEDBACK: Role.PREDICTOR,
        Permission.OPERATE: Role.OPERATOR,
        Permission.ROLL_OUT: Role.OPERATOR,
        Permission.READ_AUDIT: Role.ADMIN,
        Permission.MANAGE_KEYS: Role.ADMIN,
    }
)
"""Permission -> the least role that has it; None where nobody is asked who they are."""

PERMISSIONS: Mapping[Role, frozenset[Permission]] = MappingProxyType(
    {
        role: frozenset(each for each, least in LOWEST.items() if least is None or least.rank <= role.rank)
        for role in Role
    }
)
"""Role -> all it may do."""


def role_named(text: str) -> Role:
    """Return the role of this name; raise ConfigError that lists the names."""
    try:
        return Role(text)
    except ValueError:
        raise ConfigError(f"role: got '{text}', expected one of {', '.join(Role)}", got=text) from None


def permission_named(text: str) -> Permission:
    """Return the permission of this name; raise ConfigError that lists the names."""
    try:
        return Permission(text)
    except ValueError:
        raise ConfigError(f"permission: got '{text}', expected one of {', '.join(Permission)}", got=text) from None
