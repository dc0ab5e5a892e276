"""Files under one root, in a folder or in S3, by relative paths."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from cluster.errors import ConfigError, ForbiddenError, TransientError, UnknownNameError

ASIDE = ".aside-"
"""Prefix of files being written; no listing shows them."""
NO_FILE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
IN_THE_WAY = (FileExistsError, IsADirectoryError, NotADirectoryError)


class Storage:
    """A root, and files under it.

    Paths are relative, with `/`; one that leaves the root is a ForbiddenError. On local disk a file is there whole
    or not at all, and survives a power cut once `write_bytes` has returned; S3 promises the same for one object.

    Parameters
    ----------
    url
        A folder, `file:///folder`, or `s3://bucket/prefix` (credentials and region as pyarrow finds them).
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.local: Path | None = None
        if "://" not in url or url.startswith("file://"):
            self.local = Path(url.removeprefix("file://")).absolute()
        elif not url.startswith("s3://"):
            raise ConfigError(f"storage: got '{url}', expected a folder or s3://bucket/prefix", url=url)

    def write_bytes(self, path: str, data: bytes) -> None:
        """Put `data` at `path`, whole or not at all, over what was there."""
        self._within(path)
        if self.local is not None:
            try:
                with _named_faults():
                    write_whole(self.local / path, data)
            except IN_THE_WAY as error:
                raise ForbiddenError(
                    f"path: got '{path}', where a folder is, or a file in the way", path=path
                ) from error
            return
        with self._remote() as (files, root), files.open_output_stream(f"{root}/{path}") as stream:
            stream.write(data)

    def read_bytes(self, path: str) -> bytes:
        """Return the file's content; raise UnknownNameError where there is none."""
        self._within(path)
        try:
            if self.local is not None:
                with _named_faults():
                    return (self.local / path).read_bytes()
            with self._remote() as (files, root), files.open_input_stream(f"{root}/{path}") as stream:
                return bytes(stream.read())
        except NO_FILE as error:
            folder = str(PurePosixPath(path).parent)
            raise UnknownNameError.of("file", path, self.list("" if folder == "." else folder)) from error

    def exists(self, path: str) -> bool:
        """Say whether a file is at `path`."""
        from pyarrow.fs import FileType

        self._within(path)
        if self.local is not None:
            return (self.local / path).is_file()
        with self._remote() as (files, root):
            return bool(files.get_file_info(f"{root}/{path}").type == FileType.File)

    def list(self, prefix: str = "") -> list[str]:
        """Return the paths of all files in the folder `prefix`, at any depth, sorted."""
        from pyarrow.fs import FileSelector

        if prefix:
            self._within(prefix)
        with self._any() as (files, root):
            base = f"{root}/{prefix}".rstrip("/")
            found = files.get_file_info(FileSelector(base, recursive=True, allow_not_found=True))
            names = [info.path.removeprefix(f"{root}/") for info in found if info.is_file]
        return sorted(name for name in names if ASIDE not in name)

    def delete(self, path: str) -> None:
        """Remove a file, or a folder with all in it; nothing there is no fault."""
        from pyarrow.fs import FileType

        self._within(path)
        with self._any() as (files, root):
            kind = files.get_file_info(f"{root}/{path}").type
            if kind == FileType.File:
                files.delete_file(f"{root}/{path}")
            elif kind == FileType.Directory:
                files.delete_dir(f"{root}/{path}")

    def upload_folder(self, folder: Path, path: str) -> None:
        """Copy a local folder's files to `path`; on local disk a new folder is there whole or not at all."""
        self._within(path)
        if self.local is None or (self.local / path).exists():
            for source in _files_in(folder):
                self.write_bytes(f"{path}/{source.relative_to(folder).as_posix()}", source.read_bytes())
            return
        with new_folder(self.local / path) as aside:
            for source in _files_in(folder):
                write_whole(aside / source.relative_to(folder), source.read_bytes())

    def download_folder(self, path: str, folder: Path) -> None:
        """Copy the files of the folder `path` into a local folder; raise UnknownNameError where there are none."""
        names = self.list(path)
        if not names:
            raise UnknownNameError.of("folder", path, {name.partition("/")[0] for name in self.list()})
        for name in names:
            target = folder / PurePosixPath(name).relative_to(path)
            write_whole(target, self.read_bytes(name))

    def _within(self, path: str) -> None:
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path:
            raise ForbiddenError(f"path: got '{path}', expected a relative path inside the storage", path=path)
        if self.local is not None:
            # A link inside the root may still lead out of it.
            root = self.local.resolve()
            if not (root / path).resolve().is_relative_to(root):
                raise ForbiddenError(f"path: got '{path}', which leads out of the storage by a link", path=path)

    @contextmanager
    def _any(self) -> Iterator[tuple[Any, str]]:
        if self.local is None:
            with self._remote() as both:
                yield both
        else:
            from pyarrow.fs import LocalFileSystem

            with _named_faults():
                yield LocalFileSystem(), str(self.local)

    @contextmanager
    def _remote(self) -> Iterator[tuple[Any, str]]:
        from pyarrow.fs import FileSystem

        with _named_faults():
            files, root = FileSystem.from_uri(self.url)
            yield files, root.rstrip("/")


@contextmanager
def _named_faults() -> Iterator[None]:
    try:
        yield
    except (*NO_FILE, *IN_THE_WAY):
        raise
    except OSError as error:
        raise TransientError(f"the storage cannot do that now: {error}", retry_after_s=5.0) from error


def write_whole(path: Path, data: bytes) -> None:
    """Write a local file so that it is there whole or not at all: aside, synced, renamed, the folder synced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(prefix=ASIDE, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder to fill; it becomes `target` at the end of the block, or vanishes where that fails."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=ASIDE, dir=target.parent))
    try:
        yield aside
        aside.replace(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _files_in(folder: Path) -> list[Path]:
    return sorted(each for each in folder.rglob("*") if each.is_file())
