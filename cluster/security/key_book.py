"""All keys as one value, and what may be done to them: create, rotate, revoke."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from cluster.errors import ConfigError, UnknownNameError
from cluster.security.api_key import ApiKey, new_key
from cluster.security.identity import Scope
from cluster.security.records import KeyRecord, Secret
from cluster.security.roles import PERMISSIONS, Role

MOST_SECRETS = 4
"""Of one record: a key rotated again and again within one overlap must not grow it."""


@dataclass(frozen=True, kw_only=True)
class KeyBook:
    """The keys at one moment; every change returns a new book.

    Parameters
    ----------
    records
        Key id -> record.
    """

    records: Mapping[str, KeyRecord] = field(default_factory=dict)

    def create(
        self,
        name: str,
        role: Role,
        *,
        now_s: float,
        scope: Scope | None = None,
        lasts_s: float | None = None,
    ) -> tuple[Self, ApiKey]:
        """Return the book with one more key, and that key: the only time it can be seen.

        Parameters
        ----------
        name
            Whom it belongs to; not empty.
        role
            What it may do at most.
        now_s
            Seconds since the epoch.
        scope
            Narrows it.
        lasts_s
            Seconds until it expires; None for never.

        Raises
        ------
        ConfigError
            The name is empty, the time is over before it starts, or the scope asks for more than the role has.
        """
        scope = scope or Scope()
        if not name.strip() or (lasts_s is not None and lasts_s <= 0):
            raise ConfigError(f"a key needs a name and a time to last: got '{name}' for {lasts_s} s")
        beyond = sorted(scope.permissions - PERMISSIONS[role])
        if beyond:
            raise ConfigError(
                f"scope: got {', '.join(beyond)}, expected permissions of role {role}: "
                f"{', '.join(sorted(PERMISSIONS[role]))}",
                got=beyond,
            )
        key = new_key()
        record = KeyRecord(
            key_id=key.key_id,
            name=name.strip(),
            role=role,
            scope=scope,
            secrets=(Secret(sha256=key.sha256, created_s=now_s),),
            expires_s=None if lasts_s is None else now_s + lasts_s,
        )
        return self._with(record), key

    def rotate(self, key_id: str, *, now_s: float, overlap_s: float) -> tuple[Self, ApiKey]:
        """Return the book with a new secret for a key, and the new key; the old one works for `overlap_s` more."""
        record = self.record(key_id)
        if record.state(now_s) in ("revoked", "expired"):
            raise ConfigError(f"key {key_id} is {record.state(now_s)}: got a rotation, expected a new key instead")
        if overlap_s < 0:
            raise ConfigError(f"overlap: got {overlap_s:g} s, expected at least 0")
        key = new_key(key_id)
        ends_s = now_s + overlap_s
        old = tuple(
            replace(each, ends_s=ends_s if each.ends_s is None else min(each.ends_s, ends_s))
            for each in record.secrets
            if each.opens(now_s)
        )
        secrets = (Secret(sha256=key.sha256, created_s=now_s), *(each for each in old if each.opens(now_s)))
        return self._with(replace(record, secrets=secrets[:MOST_SECRETS])), key

    def revoke(self, key_id: str, *, now_s: float) -> Self:
        """Return the book with a key that opens nothing any more; a second time changes nothing."""
        record = self.record(key_id)
        return self if record.revoked_s is not None else self._with(replace(record, revoked_s=now_s))

    def record(self, key_id: str) -> KeyRecord:
        """Return a record; raise UnknownNameError that lists the ids."""
        if key_id not in self.records:
            raise UnknownNameError.of("key", key_id, self.records)
        return self.records[key_id]

    def to_bytes(self) -> bytes:
        """Return the book as JSON."""
        return json.dumps({"keys": [each.to_json() for each in self.records.values()]}, indent=2).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` gave; raise ValueError, KeyError or TypeError for anything else."""
        records = [KeyRecord.from_json(each) for each in json.loads(data)["keys"]]
        if len({each.key_id for each in records}) < len(records):
            raise ValueError("two keys have one id")
        return cls(records={each.key_id: each for each in records})

    def _with(self, record: KeyRecord) -> Self:
        return type(self)(records={**self.records, record.key_id: record})
