"""The door: who asks, and whether they may do this here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cluster.security.api_key import presented_key
from cluster.security.identity import ANONYMOUS, ANYBODY, Identity
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

    def enter(self, headers: Mapping[str, str], permission: Permission, route: str = "") -> Identity:
        """Return who asks.

        Parameters
        ----------
        headers
            Of the request; names in lower case, or a mapping that does not care.
        permission
            What the route states.
        route
            Its template, for keys scoped to routes.

        Raises
        ------
        UnauthenticatedError
            No key, or one that opens nothing.
        ForbiddenError
            The key may not do this.
        """
        if self.keys is None:
            return ANYBODY
        if permission is Permission.OPEN:
            return ANONYMOUS
        key = presented_key(headers.get("authorization"), headers.get("x-api-key"))
        if key is None and self.required:
            raise refused("no key")
        identity = ANONYMOUS if key is None else self.keys.identify(key)
        if self.roles:
            identity.need(permission, route)
        return identity

    def enter_model(self, identity: Identity, model: str) -> None:
        """Raise ForbiddenError where the key is not for this model; known only once the body is read."""
        if self.roles:
            identity.need_model(model)
