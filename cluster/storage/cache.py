"""Local copies of artifact folders."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.errors import UnknownNameError
from cluster.storage.files import Storage, new_folder


def local_copy(uri: str, cache: Path) -> Path:
    """Return a local folder with the artifact at `uri`, for reading only.

    Artifacts never change, so that one copy serves for ever; callers at the same time, in any number of processes,
    cause one download.

    Parameters
    ----------
    uri
        A local folder (returned as it is) or `s3://bucket/prefix/folder`.
    cache
        Folder for the copies.

    Raises
    ------
    UnknownNameError
        Nothing is there.
    TransientError
        The storage does not answer.
    """
    if "://" not in uri or uri.startswith("file://"):
        folder = Path(uri.removeprefix("file://"))
        if not folder.is_dir():
            raise UnknownNameError(f"artifact folder '{folder}' is not there", name=str(folder))
        return folder
    return _once(cache / hashlib.sha256(uri.encode()).hexdigest()[:32], *uri.rstrip("/").rsplit("/", 1))


def _once(target: Path, root: str, name: str) -> Path:
    """Return `target`, downloaded by whoever comes first."""
    if target.is_dir():
        return target
    with _locked(target.with_suffix(".lock")):
        if not target.is_dir():
            with new_folder(target) as aside:
                Storage(root).download_folder(name, aside)
    return target


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        # The lock goes with the file, also where this process dies.
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
