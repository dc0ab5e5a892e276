"""Lines that cannot be changed unseen: each holds the hash of the one before, and the last hash is signed."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import orjson

from cluster.errors import ConfigError
from cluster.security.key_file import refuse_open_file

Entry = Mapping[str, Any]
"""What is recorded: JSON-able, without the names `n`, `previous` and `hash`."""

_TAIL = re.compile(rb',"hash":"([0-9a-f]{64})"\}\Z')
_TAIL_BYTES = len(b',"hash":""}') + 64


@dataclass(frozen=True, kw_only=True)
class Head:
    """The end of a chain.

    Parameters
    ----------
    records
        How many lines it has.
    digest
        Hash of the last one; of the chain's name where there is none.
    """

    records: int
    digest: str

    @classmethod
    def start(cls, name: str) -> Self:
        """Return the head of an empty chain; its name is part of it, so that no file passes for another."""
        return cls(records=0, digest=hashlib.sha256(f"heliotrope audit {name}".encode()).hexdigest())

    def lines(self, entries: Iterable[Entry]) -> tuple[list[bytes], Head]:
        """Return the lines that record `entries` next, and the head after them.

        The hash is that of the line's own bytes before it, which hold the hash of the line before: no second
        form of a record exists that would have to be brought back exactly to check it.
        """
        made, n, digest = [], self.records, self.digest
        for entry in entries:
            n += 1
            body = orjson.dumps({**entry, "n": n, "previous": digest})[:-1]
            digest = hashlib.sha256(body).hexdigest()
            made.append(b'%b,"hash":"%b"}' % (body, digest.encode()))
        return made, Head(records=n, digest=digest)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line read back.

    Parameters
    ----------
    entry
        All it says.
    n
        Its number, from 1.
    previous
        The hash it says the line before has.
    digest
        The hash it carries.
    intact
        Whether that is the hash of its bytes.
    """

    entry: dict[str, Any]
    n: int
    previous: str
    digest: str
    intact: bool

    @property
    def head(self) -> Head:
        """The head after this line."""
        return Head(records=self.n, digest=self.digest)


def read_line(raw: bytes) -> Line | None:
    """Return a line's content, or None where it is not a record at all: torn, or never one."""
    found = _TAIL.search(raw)
    try:
        entry = orjson.loads(raw)
        if found is None or not isinstance(entry["n"], int):
            return None
        digest = found[1].decode()
        return Line(
            entry=entry,
            n=entry["n"],
            previous=str(entry["previous"]),
            digest=digest,
            intact=hashlib.sha256(raw[:-_TAIL_BYTES]).hexdigest() == digest,
        )
    except (ValueError, KeyError, TypeError):
        return None


class Signer:
    """Signs heads, so that nobody without the key can write a whole new chain.

    Parameters
    ----------
    key
        32 random bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def from_file(cls, path: Path, *, create: bool = False) -> Self:
        """Read the key of a file of mode 0600; make it where there is none and `create` says so.

        Raises
        ------
        ConfigError
            There is none, it is open to others, or it is no key.
        """
        if create:
            _make_key(path)
        if not path.is_file():
            raise ConfigError(f"no key for the audit log at '{path}': got nothing, see ML_AUDIT_KEY_FILE")
        refuse_open_file(path, "audit key")
        text = path.read_text().strip()
        if not re.fullmatch(r"[0-9a-f]{64}", text):
            raise ConfigError(f"the audit key '{path}' is damaged: expected 64 hexadecimal characters")
        return cls(bytes.fromhex(text))

    def sign(self, name: str, head: Head) -> bytes:
        """Return a signed head as the text of its file."""
        content = {"name": name, "records": head.records, "hash": head.digest}
        return orjson.dumps({**content, "signature": self._signature(content)})

    def read(self, name: str, text: bytes) -> Head | None:
        """Return the head that a text holds, or None where it is not signed with this key for this name."""
        try:
            data = orjson.loads(text)
            content = {each: data[each] for each in ("name", "records", "hash")}
            fits = hmac.compare_digest(self._signature(content), str(data["signature"]))
        except (ValueError, KeyError, TypeError):
            return None
        good = fits and content["name"] == name
        return Head(records=content["records"], digest=content["hash"]) if good else None

    def _signature(self, content: Mapping[str, Any]) -> str:
        return hmac.new(self._key, orjson.dumps(content, option=orjson.OPT_SORT_KEYS), "sha256").hexdigest()


def _make_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Linked into place whole: of two processes that start at once, both read the key of the first.
    aside = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(secrets.token_hex(32) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(aside, path)
    except FileExistsError:
        pass
    finally:
        aside.unlink()
