"""The door: who asks, and whether they may do this here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cluster.security.api_key import presented_key
from cluster.security.identity import ANONYMOUS, ANYBODY, Identity, Scope
from cluster.security.key_ring import KeyRing, refused
from cluster.security.roles import Permission


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may come in.

    Parameters
    ----------
    keys
        The known keys; None where authentication is off.
    required
        Refuse requests without a key; else they pass as anonymous, a predictor.
    roles
        Check that the key's role and scope allow the route.
    """

    keys: KeyRing | None = None
    required: bool = False
    roles: bool = False

    def identify(self, headers: Mapping[str, str], permission: Permission) -> Identity:
        """Return who asks, whatever they may do; where roles are not checked, of no narrower scope than any.

        Parameters
        ----------
        headers
            Of the request; names in lower case, or a mapping that does not care.
        permission
            What the route states.

        Raises
        ------
        UnauthenticatedError
            No key, or one that opens nothing.
        """
        if self.keys is None:
            return ANYBODY
        if permission is Permission.OPEN:
            return ANONYMOUS
        key = presented_key(headers.get("authorization"), headers.get("x-api-key"))
        if key is None and self.required:
            raise refused("no key")
        if key is None:
            return ANONYMOUS
        found = self.keys.identify(key)
        return found if self.roles else replace(found, scope=Scope())

    def allow(self, identity: Identity, permission: Permission, route: str) -> None:
        """Raise ForbiddenError where they may not do this, at a route of this template."""
        if self.roles and self.keys is not None and permission is not Permission.OPEN:
            identity.need(permission, route)

    def enter_model(self, identity: Identity, model: str) -> None:
        """Raise ForbiddenError where the key is not for this model; known only once the body is read."""
        if self.roles:
            identity.need_model(model)
