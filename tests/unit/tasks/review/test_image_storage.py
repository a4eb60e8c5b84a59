"""Pictures in stores: whole or not there, the same at the second time, named for Label Studio."""

from __future__ import annotations

import sys
from pathlib import Path

import fsspec
import pytest

from tasks.review import image_storage
from tasks.review.image_storage import Bucket, MediaFolder


def test_a_picture_in_the_media_folder_is_whole_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MediaFolder(tmp_path)
    store.write("1/scans/a.png", b"first")
    store.write("1/scans/a.png", b"second")
    assert (tmp_path / "1/scans/a.png").read_bytes() == b"second"
    assert store.make_address("1/scans/a.png") == "/data/local-files/?d=1/scans/a.png"

    def half(path: Path, content: bytes) -> int:
        path.open("wb").write(content[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="the disk is full"):
        store.write("1/scans/a.png", b"third")
    with pytest.raises(OSError, match="the disk is full"):
        store.write("1/scans/b.png", b"other")
    monkeypatch.undo()
    assert (tmp_path / "1/scans/a.png").read_bytes() == b"second"
    assert [path.name for path in (tmp_path / "1/scans").iterdir()] == ["a.png"]


def test_a_picture_in_a_bucket_is_named_as_label_studio_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(image_storage.SCHEMES, "memory", "s3")
    store = Bucket("memory://bucket/slides/")
    store.write("1/scans/a.png", b"first")
    store.write("1/scans/a.png", b"second")
    system = fsspec.filesystem("memory")
    assert system.cat("/bucket/slides/1/scans/a.png") == b"second"
    assert store.make_address("1/scans/a.png") == "s3://bucket/slides/1/scans/a.png"


@pytest.mark.parametrize("url", ["memory://bucket", "file:///tmp/x", "ftp://host/x", "bucket"])
def test_where_label_studio_could_not_show_it_nothing_is_laid(url: str) -> None:
    with pytest.raises(ValueError, match="Label Studio shows images of s3://"):
        Bucket(url).write("a.png", b"content")


def test_who_lacks_the_package_of_a_bucket_is_told_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ValueError, match="gs://bucket/x: .*gcsfs"):
        Bucket("gs://bucket/x").write("a.png", b"content")


def test_what_a_bucket_says_is_one_line_and_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(image_storage.SCHEMES, "memory", "s3")
    store = Bucket("memory://bucket")

    class Refused(Exception):
        pass

    def refuse(*given: object) -> None:
        raise Refused("Unable to locate credentials\nand more")

    monkeypatch.setattr(fsspec.filesystem("memory"), "pipe_file", refuse)  # one for all who ask
    with pytest.raises(OSError) as caught:
        store.write("a.png", b"content")
    assert str(caught.value) == ("memory://bucket cannot be written: Unable to locate credentials")
