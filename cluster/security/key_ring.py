"""Tells whose key this is, on every request, in microseconds."""

from __future__ import annotations

import hmac
from typing import Protocol

from cluster.clock import Clock, SystemClock
from cluster.errors import ConfigError, PermanentError, UnauthenticatedError
from cluster.security.api_key import ApiKey, read_key
from cluster.security.identity import PLACE, Identity
from cluster.security.key_book import KeyBook
from cluster.security.records import KeyRecord

REFRESH_S = 1.0
"""Longest time until a replica sees a new, rotated or revoked key."""
_NO_DIGEST = "0" * 64


class KeyStore(Protocol):
    """Where the key book is."""

    def version(self) -> object:
        """Return a value that changes when the book does; cheap."""
        ...

    def read(self) -> KeyBook:
        """Return the book."""
        ...


class KeyRing:
    """The keys of a store, looked at again `refresh_s` after the last look.

    Parameters
    ----------
    store
        Where they are.
    clock
        For expiry and refresh.
    refresh_s
        Longest age of what is known, seconds.

    Raises
    ------
    ConfigError
        The store cannot be read.
    """

    def __init__(self, store: KeyStore, clock: Clock | None = None, *, refresh_s: float = REFRESH_S) -> None:
        self._store, self._clock, self._refresh_s = store, clock or SystemClock(), refresh_s
        self._version: object = store.version()
        self._book = store.read()
        self._looked_s = self._clock.now_s()
        self._fault: ConfigError | None = None

    def identify(self, text: str) -> Identity:
        """Return whose key this is.

        Raises
        ------
        UnauthenticatedError
            It has no key's form, is not known, expired or revoked; `context["got"]` says which. Only who shows the
            right secret learns that a key existed.
        PermanentError
            The store has become unusable: nobody is let in.
        """
        now_s = self._clock.now_s()
        # A clock set back must not stop the looking.
        if not 0 <= now_s - self._looked_s < self._refresh_s:
            self._look(now_s)
        if self._fault is not None:
            raise PermanentError(self._fault.message, **self._fault.context) from self._fault
        key = read_key(text)
        if key is None:
            raise refused("a text that is no key")
        return self._open(key, now_s).identity

    def _open(self, key: ApiKey, now_s: float) -> KeyRecord:
        record = self._book.records.get(key.key_id)
        digest, fits = key.sha256, False
        # Every digest is compared, and one where the id is unknown too: time tells nothing of what was near.
        for known in (each.sha256 for each in record.secrets) if record else (_NO_DIGEST,):
            fits |= hmac.compare_digest(known, digest)
        if record is None or not fits:
            raise refused("an unknown key")
        state = record.state(now_s)
        if state in ("revoked", "expired"):
            raise refused("a revoked key" if state == "revoked" else "an expired key")
        if not any(each.sha256 == digest and each.opens(now_s) for each in record.secrets):
            raise refused("a key that was rotated")
        return record

    def _look(self, now_s: float) -> None:
        self._looked_s = now_s
        try:
            version = self._store.version()
            if version != self._version or self._fault is not None:
                self._book, self._version, self._fault = self._store.read(), version, None
        except ConfigError as error:
            self._fault = error


def refused(got: str) -> UnauthenticatedError:
    """Return the error for a key that opens nothing, or for none."""
    return UnauthenticatedError(
        f"a valid API key is needed: got {got}, expected 'Authorization: Bearer KEY' or 'X-API-Key: KEY'",
        field=PLACE,
        got=got,
        expected="a valid key",
    )
