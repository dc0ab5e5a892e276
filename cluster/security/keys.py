"""API keys: their hashes in a file, who they are, what they may do."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import secrets
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cluster.clock import Clock, SystemClock
from cluster.errors import ConfigError, ForbiddenError, PermanentError, UnauthenticatedError

ROLES = ("forecast", "read")
PREFIX = "hel_"
SECRET_BYTES = 32
MAX_KEY = 256


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who asks.

    Parameters
    ----------
    name
        For logs and audits; never the key.
    roles
        Out of ROLES: `forecast` may ask for forecasts, `read` may look at models and metrics.
    """

    name: str
    roles: frozenset[str]

    def need(self, role: str) -> None:
        """Raise ForbiddenError unless `role` is among the roles."""
        if role not in self.roles:
            raise ForbiddenError(
                f"'{self.name}' may not do this: got roles {', '.join(sorted(self.roles)) or 'none'}, "
                f"expected '{role}'",
                field="header.authorization",
                got=", ".join(sorted(self.roles)) or "no role",
                expected=role,
            )


ANONYMOUS = Identity(name="anonymous", roles=frozenset(ROLES))


@dataclass(frozen=True, kw_only=True)
class KeyEntry:
    """A key as the file keeps it.

    Parameters
    ----------
    sha256
        Of the whole key. Keys are 256 random bits, so a plain hash cannot be guessed back.
    identity
        Whom it belongs to.
    roles
        Out of ROLES.
    created_at
        UTC, ISO 8601.
    """

    sha256: str
    identity: str
    roles: tuple[str, ...]
    created_at: str


class KeyRing:
    """The keys of a file, read again when the file changes.

    Parameters
    ----------
    path
        JSON file that `create_key` writes.

    Raises
    ------
    ConfigError
        The file is missing, unreadable by format, or readable by others.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._entries: tuple[KeyEntry, ...] = ()
        self._refresh()

    def identify(self, key: str) -> Identity:
        """Return whose key this is.

        Raises
        ------
        UnauthenticatedError
            The key is not in the file.
        PermanentError
            The file has become unusable: nobody is let in.
        """
        try:
            self._refresh()
        except ConfigError as error:
            raise PermanentError(error.message, **error.context) from error
        digest = _digest(key)
        found: KeyEntry | None = None
        for entry in self._entries:
            # No early end: the time taken tells nothing about which entry matched.
            if hmac.compare_digest(entry.sha256, digest):
                found = entry
        if found is None:
            raise UnauthenticatedError(
                "the API key is not known: got a key that is not in the key file, expected a valid one "
                "in 'Authorization: Bearer KEY' or 'X-API-Key: KEY'",
                field="header.authorization",
                got="an unknown key",
                expected="a valid key",
            )
        return Identity(name=found.identity, roles=frozenset(found.roles))

    def _refresh(self) -> None:
        try:
            now = self._path.stat()
        except OSError as error:
            raise ConfigError(
                f"no readable file with API keys at '{self._path}' (ML_API_KEYS_FILE): create a key first",
                variable="ML_API_KEYS_FILE",
            ) from error
        seen = (now.st_mtime_ns, now.st_size, now.st_ino)
        if seen != self._seen:
            self._entries, self._seen = tuple(read_keys(self._path)), seen


def presented_key(authorization: str | None, x_api_key: str | None) -> str | None:
    """Return the key that a request carries in `Authorization: Bearer` or `X-API-Key`, None without one."""
    scheme, _, credentials = (authorization or "").partition(" ")
    key = credentials.strip() if scheme.lower() == "bearer" else (x_api_key or "").strip()
    return key[: MAX_KEY + 1] or None


def missing_key() -> UnauthenticatedError:
    """Return the error for a request without a key."""
    return UnauthenticatedError(
        "an API key is needed: got none, expected 'Authorization: Bearer KEY' or 'X-API-Key: KEY'",
        field="header.authorization",
        got="no key",
        expected="a valid key",
    )


def create_key(path: Path, identity: str, roles: Iterable[str], clock: Clock | None = None) -> str:
    """Make a key, store its hash, and return it: the only time it can be seen.

    Parameters
    ----------
    path
        Key file; created with mode 0600 where there is none.
    identity
        Whom it belongs to.
    roles
        Out of ROLES.

    Raises
    ------
    ConfigError
        A role is unknown, or the file is damaged.
    """
    wanted = tuple(sorted(set(roles)))
    unknown = [role for role in wanted if role not in ROLES]
    if unknown or not wanted or not identity.strip():
        raise ConfigError(
            f"a key needs a name and roles: got '{identity}' with {list(wanted)}, "
            f"expected roles out of {list(ROLES)}",
            roles=list(wanted),
        )
    key = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    now_s = (clock or SystemClock()).now_s()
    entry = KeyEntry(
        sha256=_digest(key),
        identity=identity.strip(),
        roles=wanted,
        created_at=datetime.fromtimestamp(now_s, UTC).isoformat(timespec="seconds"),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        known = list(read_keys(path)) if path.exists() else []
        _write(path, [*known, entry])
    return key


def read_keys(path: Path) -> list[KeyEntry]:
    """Return the entries of a key file; raise ConfigError where it is damaged or others may read it."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise ConfigError(
            f"the key file '{path}' is open to others: got mode {mode:04o}, expected 0600 (chmod 600)",
            got=f"{mode:04o}",
            expected="0600",
        )
    try:
        entries = [_entry(each) for each in json.loads(path.read_text())["keys"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"the key file '{path}' cannot be read: {error!r}; create it again") from error
    return entries


def _entry(data: dict[str, Any]) -> KeyEntry:
    entry = KeyEntry(**{**data, "roles": tuple(data["roles"])})
    if len(bytes.fromhex(entry.sha256)) != 32:
        raise ValueError("a sha256 has another length")
    return entry


def _digest(key: str) -> str:
    return hashlib.sha256(key[: MAX_KEY + 1].encode()).hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time read, change and write the file."""
    with path.with_name(path.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(path: Path, entries: list[KeyEntry]) -> None:
    body = json.dumps({"keys": [asdict(entry) for entry in entries]}, indent=2)
    # mkstemp makes the file 0600.
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "w") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    Path(aside).replace(path)
