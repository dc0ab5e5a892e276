"""Who asks, and what exactly that key was made for."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from cluster.errors import ForbiddenError
from cluster.security.roles import LOWEST, PERMISSIONS, Permission, Role

PLACE = "header.authorization"


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Narrows a key below what its role may do; an empty part narrows nothing.

    Parameters
    ----------
    permissions
        Only these.
    models
        Only models whose name matches one of these patterns (`turbine-*`).
    routes
        Only routes whose template (`/api/models/{name}/status`) matches one of these patterns (`/v1/*`).
    """

    permissions: frozenset[Permission] = frozenset()
    models: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()

    @property
    def wide(self) -> bool:
        """Whether it narrows nothing."""
        return not (self.permissions or self.models or self.routes)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who asks.

    Parameters
    ----------
    key_id
        The public part of the key, for logs, limits and audits; never the key.
    name
        Whom the key belongs to.
    role
        What it may do at most.
    scope
        What it may do of that.
    """

    key_id: str
    name: str
    role: Role
    scope: Scope = field(default_factory=Scope)

    def need(self, permission: Permission, route: str = "") -> None:
        """Raise ForbiddenError unless this key may do `permission`, and at this route."""
        if permission not in PERMISSIONS[self.role]:
            least = LOWEST[permission]
            raise self._forbidden(
                f"role {self.role}", f"role {least} or higher, which has '{permission}'", expected=str(least)
            )
        scope = self.scope
        if scope.wide or permission is Permission.OPEN:
            return
        if scope.permissions and permission not in scope.permissions:
            listed = ", ".join(sorted(scope.permissions))
            raise self._forbidden(f"a key for {listed}", f"a key for '{permission}'", expected=permission)
        if scope.routes and not _matches(route, scope.routes):
            listed = ", ".join(scope.routes)
            raise self._forbidden(f"a key for the routes {listed}", f"a key for '{route}'", expected=route)

    def may_use(self, model: str) -> bool:
        """Say whether this key is for `model`."""
        return not self.scope.models or _matches(model, self.scope.models)

    def need_model(self, model: str) -> None:
        """Raise ForbiddenError unless this key is for `model`."""
        if not self.may_use(model):
            listed = ", ".join(self.scope.models)
            raise self._forbidden(f"a key for the models {listed}", f"a key for '{model[:100]}'", expected="model")

    def need_all_models(self) -> None:
        """Raise ForbiddenError where this key is narrowed to models: all of them are meant at once."""
        if self.scope.models:
            listed = ", ".join(self.scope.models)
            raise self._forbidden(f"a key for the models {listed}", "a key for all models", expected="all models")

    def _forbidden(self, got: str, wanted: str, *, expected: str) -> ForbiddenError:
        return ForbiddenError(
            f"'{self.name}' may not do this: got {got}, expected {wanted}",
            field=PLACE,
            got=got,
            expected=expected,
        )


ANONYMOUS = Identity(key_id="anonymous", name="anonymous", role=Role.PREDICTOR)
"""Who asks without a key, where none is required."""
ANYBODY = Identity(key_id="anybody", name="anybody", role=Role.ADMIN)
"""Who asks where authentication is off."""
UNKNOWN = Identity(key_id="unknown", name="unknown", role=Role.VIEWER)
"""Who shows a key that opens nothing, in records of the refusal."""


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
