"""Lines out of pieces of a stream, as many bytes in memory as one line may have."""

from __future__ import annotations


class Lines:
    """Cuts a stream of bytes at newlines; a line that is too long is told once and left out.

    Parameters
    ----------
    most_bytes
        Of one line.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most, self._begun, self._skipping = most_bytes, bytearray(), False

    def feed(self, piece: bytes) -> list[bytes | None]:
        """Return the lines that end within a piece, None for one that is too long; empty lines are left out."""
        found: list[bytes | None] = []
        *ended, rest = piece.split(b"\n")
        for part in ended:
            found += self._end(part)
        if not self._skipping:
            self._begun += rest
            if len(self._begun) > self._most:
                self._begun.clear()
                self._skipping = True
                found.append(None)
        return found

    def close(self) -> list[bytes | None]:
        """Return the last line, which no newline ends."""
        return self._end(b"")

    def _end(self, part: bytes) -> list[bytes | None]:
        line, skipped = bytes(self._begun) + part, self._skipping
        self._begun.clear()
        self._skipping = False
        if skipped or not line.strip():
            return []
        return [None] if len(line) > self._most else [line]
