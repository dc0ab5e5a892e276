"""Storage: whole files, no way out of the root, one download for many callers."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.fs
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cluster.errors import ConfigError, ForbiddenError, TransientError, UnknownNameError
from cluster.storage import cache, files
from cluster.storage.cache import local_copy
from cluster.storage.files import Storage


class ElsewhereStorage(Storage):
    """The remote path of the code, over pyarrow's own file system kept in memory."""

    held = pyarrow.fs._MockFileSystem()

    def __init__(self, url: str = "s3://bucket/prefix") -> None:
        super().__init__(url)
        self.held.create_dir("bucket/prefix", recursive=True)

    @contextmanager
    def _remote(self) -> Iterator[tuple[Any, str]]:
        yield Objects(self.held), self.url.removeprefix("s3://")


class Objects:
    """Makes the folders that an object store does not need."""

    def __init__(self, held: Any) -> None:
        self._held = held

    def __getattr__(self, name: str) -> Any:
        return getattr(self._held, name)

    def open_output_stream(self, path: str) -> Any:
        self._held.create_dir(path.rpartition("/")[0], recursive=True)
        return self._held.open_output_stream(path)


@pytest.fixture(params=["local", "remote"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return Storage(str(tmp_path / "storage"))
    ElsewhereStorage.held = pyarrow.fs._MockFileSystem()
    return ElsewhereStorage()


def test_what_was_written_is_read_listed_and_deleted(storage: Storage) -> None:
    assert storage.list() == []
    storage.write_bytes("a/b.bin", b"one")
    storage.write_bytes("a/c/d.bin", b"two")
    storage.write_bytes("a/b.bin", b"three")
    assert storage.read_bytes("a/b.bin") == b"three"
    assert storage.exists("a/b.bin")
    assert not storage.exists("a")
    assert not storage.exists("nowhere/at/all")
    assert storage.list() == storage.list("a") == ["a/b.bin", "a/c/d.bin"]
    assert storage.list("a/c") == ["a/c/d.bin"]
    assert storage.list("nowhere") == []
    storage.delete("a/b.bin")
    storage.delete("a/b.bin")
    assert storage.list() == ["a/c/d.bin"]
    storage.delete("a")
    assert storage.list() == []


def test_a_missing_file_is_named_with_those_beside_it(storage: Storage) -> None:
    storage.write_bytes("a/model.bin", b"")
    with pytest.raises(UnknownNameError, match=r"unknown file 'a/modell.bin'. Did you mean 'a/model.bin'"):
        storage.read_bytes("a/modell.bin")
    with pytest.raises(UnknownNameError, match=r"unknown folder 'b'\. Known: a"):
        storage.download_folder("b", Path("unused"))


def test_a_folder_goes_up_and_comes_down(storage: Storage, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "deep").mkdir(parents=True)
    (source / "manifest.json").write_text("{}")
    (source / "deep" / "weights.bin").write_bytes(bytes(1000))
    storage.upload_folder(source, "artifacts/1")
    storage.upload_folder(source, "artifacts/1")
    assert storage.list("artifacts") == ["artifacts/1/deep/weights.bin", "artifacts/1/manifest.json"]
    storage.download_folder("artifacts/1", target)
    assert (target / "deep" / "weights.bin").read_bytes() == bytes(1000)
    assert sorted(each.name for each in target.iterdir()) == ["deep", "manifest.json"]


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "", ".", "a\\..\\b", "a\0b"])
def test_a_path_out_of_the_root_is_refused(storage: Storage, path: str) -> None:
    calls: list[Any] = [storage.read_bytes, storage.exists, storage.delete, lambda p: storage.write_bytes(p, b"")]
    for call in calls:
        with pytest.raises(ForbiddenError, match="got"):
            call(path)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(parts=st.lists(st.sampled_from(["..", ".", "a", "", "b.c"]), max_size=6))
def test_nothing_is_ever_written_outside(tmp_path: Path, parts: list[str]) -> None:
    storage = Storage(str(tmp_path / "x" / "y" / "root"))
    try:
        storage.write_bytes("/".join(parts), b"here")
    except ForbiddenError as error:
        assert "path: got" in str(error)
    outside = [each for each in tmp_path.rglob("*") if each.is_file() and "root" not in each.parts]
    assert outside == []


def test_a_link_out_of_the_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "secret").write_text("s")
    (tmp_path / "root" / "link").symlink_to(tmp_path)
    with pytest.raises(ForbiddenError, match="by a link"):
        Storage(str(tmp_path / "root")).read_bytes("link/secret")


@pytest.mark.parametrize("step", ["fdopen", "fsync", "replace"])
def test_a_write_cut_at_any_step_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    storage = Storage(str(tmp_path))
    storage.write_bytes("state.json", b"old")

    def full(*args: Any, **kwargs: Any) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path if step == "replace" else os, step, full)
        with pytest.raises(TransientError, match="No space left"):
            storage.write_bytes("state.json", b"new")
    assert storage.read_bytes("state.json") == b"old"
    assert list(tmp_path.iterdir()) == [tmp_path / "state.json"]


def test_a_file_being_written_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / f"{files.ASIDE}123").write_text("half")
    assert Storage(str(tmp_path)).list() == []


def test_a_url_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="got 'ftp://x', expected a folder or s3"):
        Storage("ftp://x")


def test_a_local_artifact_is_returned_as_it_is(tmp_path: Path) -> None:
    assert local_copy(str(tmp_path), tmp_path / "cache") == tmp_path
    assert local_copy(f"file://{tmp_path}", tmp_path / "cache") == tmp_path
    with pytest.raises(UnknownNameError, match="is not there"):
        local_copy(str(tmp_path / "nothing"), tmp_path / "cache")


def test_many_callers_cause_one_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ElsewhereStorage.held = pyarrow.fs._MockFileSystem()
    ElsewhereStorage().write_bytes("model/weights.bin", b"w" * 10)
    downloads: list[str] = []

    class Counted(ElsewhereStorage):
        def download_folder(self, path: str, folder: Path) -> None:
            downloads.append(path)
            super().download_folder(path, folder)

    monkeypatch.setattr(cache, "Storage", Counted)
    found: list[Path] = []
    callers = [
        threading.Thread(target=lambda: found.append(local_copy("s3://bucket/prefix/model", tmp_path / "cache")))
        for _ in range(8)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert downloads == ["model"]
    assert len(set(found)) == 1
    assert (found[0] / "weights.bin").read_bytes() == b"w" * 10


def test_a_download_that_fails_leaves_nothing_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ElsewhereStorage.held = pyarrow.fs._MockFileSystem()
    ElsewhereStorage().write_bytes("model/weights.bin", b"w")
    cut = [True]

    class Cut(ElsewhereStorage):
        def download_folder(self, path: str, folder: Path) -> None:
            (folder / "weights.bin").write_bytes(b"")
            if cut.pop():
                raise TransientError("the line is down")
            super().download_folder(path, folder)

    monkeypatch.setattr(cache, "Storage", Cut)
    with pytest.raises(TransientError):
        local_copy("s3://bucket/prefix/model", tmp_path)
    assert [each for each in tmp_path.iterdir() if each.is_dir()] == []
    cut[:] = [False]
    assert (local_copy("s3://bucket/prefix/model", tmp_path) / "weights.bin").read_bytes() == b"w"
