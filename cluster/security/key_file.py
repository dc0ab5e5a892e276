"""The file that holds the key book: closed to others, changed whole or not at all, one writer at a time."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from cluster.errors import ConfigError
from cluster.security.key_book import KeyBook
from cluster.storage.files import write_whole

T = TypeVar("T")
Version = tuple[int, int, int]
"""Modification time, size and inode: changes with every write."""


class KeyFile:
    """A key book on disk. Several machines share it where the folder is shared.

    Parameters
    ----------
    path
        JSON file, mode 0600.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def version(self) -> Version:
        """Return what changes when the file does; raise ConfigError where there is none."""
        try:
            now = self.path.stat()
        except OSError as error:
            raise ConfigError(
                f"no readable file with API keys at '{self.path}' (ML_API_KEYS_FILE): create a key first",
                variable="ML_API_KEYS_FILE",
            ) from error
        return now.st_mtime_ns, now.st_size, now.st_ino

    def read(self) -> KeyBook:
        """Return the book; raise ConfigError where the file is missing, damaged, or open to others."""
        self.version()
        refuse_open_file(self.path, "key file")
        try:
            return KeyBook.from_bytes(self.path.read_bytes())
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"the key file '{self.path}' cannot be read: {error!r}; restore it or create it again"
            ) from error

    def change(self, step: Callable[[KeyBook], tuple[KeyBook, T]]) -> T:
        """Read the book, let `step` return the next one, write that, and return what came with it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked():
            book, result = step(self.read() if self.path.exists() else KeyBook())
            # The file is made by mkstemp, which closes it to others.
            write_whole(self.path, book.to_bytes())
            return result

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = os.open(self.path.with_name(self.path.name + ".lock"), os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def refuse_open_file(path: Path, what: str) -> None:
    """Raise ConfigError where others than the owner may read or write a file with secrets."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise ConfigError(
            f"the {what} '{path}' is open to others: got mode {mode:04o}, expected 0600 (chmod 600)",
            got=f"{mode:04o}",
            expected="0600",
        )
