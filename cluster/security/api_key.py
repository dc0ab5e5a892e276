"""The text of an API key: `hel_<id>_<secret>`, how it is made, read from a request, and hashed."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field

PREFIX = "hel_"
ID_BYTES = 6
SECRET_BYTES = 32
ID_LENGTH = 2 * ID_BYTES
_FORM = re.compile(rf"{PREFIX}(?P<id>[0-9a-f]{{{ID_LENGTH}}})_[A-Za-z0-9_-]{{43}}")
# Until key ids existed; such keys work until they are revoked or rotated.
_OLD_FORM = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """A key that somebody holds. Neither its repr nor its str show the secret.

    Parameters
    ----------
    key_id
        Public part: finds the record, and stands in logs.
    text
        The whole key.
    """

    key_id: str
    text: str = field(repr=False)

    @property
    def sha256(self) -> str:
        """The digest that is stored.

        A plain hash, and the right one: the secret is 256 random bits, so that nobody guesses it back from a digest
        however fast the hash is. Slow hashes protect passwords, which people choose; here they would cost
        milliseconds a request and hand an attacker a way to burn our processor. A hash keyed with a secret beside
        the file would add nothing against a reader of the file. The id is hashed along, so that a digest moved to
        another record opens nothing. At about a microsecond there is nothing worth a cache, and so no cache
        can go on honouring a revoked key.
        """
        return hashlib.sha256(self.text.encode("ascii")).hexdigest()


def new_key(key_id: str | None = None) -> ApiKey:
    """Return a fresh key, with a given id where a key is rotated."""
    key_id = key_id or secrets.token_hex(ID_BYTES)
    return ApiKey(key_id=key_id, text=f"{PREFIX}{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}")


def read_key(text: str) -> ApiKey | None:
    """Return the key, or None where the text has another form: too long, not ASCII, cut off."""
    found = _FORM.fullmatch(text)
    if found:
        return ApiKey(key_id=found["id"], text=text)
    if _OLD_FORM.fullmatch(text):
        return ApiKey(key_id=old_key_id(hashlib.sha256(text.encode("ascii")).hexdigest()), text=text)
    return None


def old_key_id(sha256: str) -> str:
    """Return the id of a key from before ids: the start of its digest."""
    return sha256[:ID_LENGTH]


def presented_key(authorization: str | None, x_api_key: str | None) -> str | None:
    """Return what a request carries in `Authorization: Bearer` or `X-API-Key`, None without one."""
    scheme, _, credentials = (authorization or "").partition(" ")
    key = credentials.strip() if scheme.lower() == "bearer" else (x_api_key or "").strip()
    return key or None


def hidden(text: str) -> str:
    """Return `text` with the secrets of all keys in it replaced by ***; ids stay."""
    if PREFIX not in text:
        return text
    return _ANY_KEY.sub(lambda found: f"{PREFIX}{found['id'] or ''}***", text)


# Anything that starts as a key and goes on for long is taken for one, whole or cut off.
_ANY_KEY = re.compile(rf"{PREFIX}(?:(?P<id>[0-9a-f]{{{ID_LENGTH}}}_)(?=[A-Za-z0-9_-]{{8}}))?[A-Za-z0-9_-]{{8,}}")
