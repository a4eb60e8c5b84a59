"""Versions in a real S3 server, read through data folders of several machines."""

from __future__ import annotations

import secrets
from pathlib import Path

import httpx
import numpy as np
import pytest
from safetensors.numpy import save_file

from ml_backend.learners.model_file import FILE_NAME, ModelCard
from ml_backend.registry.mirror import Mirror
from ml_backend.registry.object_store import ObjectStore
from ml_backend.registry.versions import Registry, UnknownVersion, Version
from ml_backend.settings import Settings
from ml_backend.system.atomic_files import write_json
from tests.s3 import make_bucket

CARD = ModelCard("yolov5n", ("Mitotic cell",), ("Mitotic cell",), 0.4, 0.3)
NAME = "1-v1-aaaa"


@pytest.fixture
def url(s3: str) -> str:
    name = f"b{secrets.token_hex(4)}"
    make_bucket(s3, name)
    return f"s3://{name}/lab"


class Machine:
    """A data folder of its own over the shared bucket."""

    def __init__(self, folder: Path, url: str) -> None:
        self.settings = Settings(data_dir=folder, store_url=url)
        self.registry = Registry.open(self.settings)

    def look(self) -> Registry:
        """What it sees now, without waiting until it would look by itself."""
        assert self.registry.mirror is not None
        self.registry.mirror.refresh(0)
        return self.registry


@pytest.fixture
def machines(tmp_path: Path, url: str) -> tuple[Machine, Machine]:
    return Machine(tmp_path / "a", url), Machine(tmp_path / "b", url)


def files(folder: Path) -> list[Path]:
    folder.mkdir(exist_ok=True)
    weights = folder / FILE_NAME
    save_file({"a": np.arange(3, dtype=np.float16)}, weights, CARD.to_metadata())
    (folder / "model.xml").write_text("<net/>")
    (folder / "int8").mkdir(exist_ok=True)
    (folder / "int8" / "model.bin").write_bytes(b"12")
    return [weights, folder / "model.xml", folder / "int8" / "model.bin"]


def add(registry: Registry, folder: Path, name: str = NAME) -> Version:
    return registry.add(Version(name, "1", 1.0, seen_groups=("a",)), files(folder), folder)


def test_what_one_machine_adds_another_reads(
    machines: tuple[Machine, Machine], tmp_path: Path
) -> None:
    first, second = machines
    version = add(first.registry, tmp_path / "made")
    there = second.look()
    assert there.list_versions("1") == [version] and there.has(NAME) and not there.has("1-v2")
    assert there.get(NAME) == version and there.read_card(NAME) == CARD
    folder = there.get_folder(NAME)
    assert second.settings.data_dir in folder.parents
    assert (folder / "int8" / "model.bin").read_bytes() == b"12"
    # Only what is asked for is fetched, and only once.
    (folder / "model.xml").write_text("touched")
    assert (there.get_folder(NAME) / "model.xml").read_text() == "touched"


def test_what_becomes_known_later_is_read_too(
    machines: tuple[Machine, Machine], tmp_path: Path
) -> None:
    first, second = machines
    version = add(first.registry, tmp_path / "made")
    before = second.look().get_folder(NAME)
    (first.registry.get_folder(NAME) / "curves.png").write_bytes(b"picture")
    (first.registry.get_folder(NAME) / "model.xml").write_text("<other/>")
    first.registry.record(Version(NAME, "1", 1.0, decision={"promoted": True}))
    there = second.look()
    assert there.get(NAME).decision == {"promoted": True} != version.decision
    assert there.get_folder(NAME) == before
    assert (before / "curves.png").read_bytes() == b"picture"
    assert (before / "model.xml").read_text() == "<other/>"


class Dying(ObjectStore):
    """A store whose machine dies after so many writes."""

    def __init__(self, url: str, writes: int) -> None:
        super().__init__(url)
        self.left = writes

    def _write(self) -> None:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1

    def write(self, name: str, content: bytes) -> None:
        self._write()
        super().write(name, content)

    def upload(self, path: Path, name: str) -> None:
        self._write()
        super().upload(path, name)


def test_a_version_is_never_seen_by_half(url: str, tmp_path: Path) -> None:
    """Its machine dies before each write in turn; the next try makes it whole."""
    settings = Settings(data_dir=tmp_path / "dying", store_url=url)
    for writes in range(3):  # what was written stays: the third dies before the version itself
        mirror = Mirror(Dying(url, writes), settings)
        with pytest.raises(KeyboardInterrupt):
            add(Registry(settings.versions, settings.champions, mirror), tmp_path / "made")
        seen = Machine(tmp_path / f"seeing-{writes}", url).registry
        assert seen.list_versions() == [] and not seen.has(NAME)
        assert not seen.get_folder(NAME).exists() and not (settings.versions / NAME).exists()
    add(Registry.open(settings), tmp_path / "made")
    seen = Machine(tmp_path / "seeing", url).registry
    assert seen.read_card(NAME) == CARD and len(seen.list_versions()) == 1


def test_a_file_that_is_not_what_was_written_is_refused(
    machines: tuple[Machine, Machine], url: str, tmp_path: Path
) -> None:
    first, second = machines
    add(first.registry, tmp_path / "made")
    store = ObjectStore(url)
    for digest in store.list_marks("files"):
        store.write(f"files/{digest}", b"damaged")
    there = second.look()
    with pytest.raises(OSError, match="is not what was written"):
        there.get_folder(NAME)
    assert not (second.settings.versions / NAME).exists()


def test_weights_that_were_removed_are_gone_everywhere(
    machines: tuple[Machine, Machine], url: str, tmp_path: Path
) -> None:
    first, second = machines
    add(first.registry, tmp_path / "made")
    add(first.registry, tmp_path / "made", "1-v2-bbbb")  # of the same files
    folder = second.look().get_folder(NAME)
    store = ObjectStore(url)
    size = first.registry.measure_weights(NAME)
    third = Machine(tmp_path / "c", url).registry  # which has no copy
    assert third.measure_weights(NAME) == size > 0
    third.remove_weights("1-v2-bbbb")
    assert len(store.list_marks("files")) == 4, "the other version needs its three"
    third.remove_weights(NAME)
    assert len(store.list_marks("files")) == 1, "the card"
    assert third.measure_weights(NAME) == 0
    there = second.look()
    assert there.get(NAME).weights_removed > 0 and there.measure_weights(NAME) == size
    there.remove_weights(NAME)  # the copy here
    assert there.measure_weights(NAME) == 0 and not (folder / "model.xml").exists()
    assert there.read_card(NAME) == CARD


def test_the_champion_is_one_for_all(machines: tuple[Machine, Machine], tmp_path: Path) -> None:
    first, second = machines
    for name in ("1-v1-aaaa", "1-v2-bbbb"):
        add(first.registry, tmp_path / "made", name)
    first.registry.promote("1", "1-v1-aaaa", by="a", reason="better")
    assert second.look().get_champion("1") == "1-v1-aaaa"
    second.registry.promote("1", "1-v2-bbbb", by="b", reason="better still")
    # Who writes looks first: nobody's change is lost.
    change = first.registry.roll_back("1", by="a", reason="worse")
    assert (change.version, change.previous) == ("1-v1-aaaa", "1-v2-bbbb")
    assert second.look().list_changes("1") == first.look().list_changes("1")
    assert len(first.registry.list_changes("1")) == 3
    assert second.registry.list_projects_led_by("1-v1-aaaa") == ["1"]


def test_snapshots_come_along(machines: tuple[Machine, Machine]) -> None:
    first, second = machines
    assert first.registry.mirror is not None
    first.registry.mirror.put("snapshots", "s1", {"name": "s1", "text": "ü \ud83d"})
    second.look()
    path = second.settings.snapshots / "s1.json"
    write_json(first.settings.snapshots / "s1.json", {"name": "s1", "text": "ü \ud83d"})
    assert path.read_bytes() == (first.settings.snapshots / "s1.json").read_bytes()


def test_without_the_bucket_reading_goes_on_and_writing_is_told(
    machines: tuple[Machine, Machine], tmp_path: Path, s3: str
) -> None:
    first, second = machines
    add(first.registry, tmp_path / "made")
    second.look().get_folder(NAME)
    httpx.post(f"{s3}/moto-api/reset", trust_env=False).raise_for_status()
    assert second.look().read_card(NAME) == CARD
    with pytest.raises(OSError, match=r"s3://\w+/lab cannot be written: .*bucket"):
        add(first.registry, tmp_path / "made", "1-v3-cccc")


def test_without_a_bucket_no_version_is_elsewhere(tmp_path: Path) -> None:
    registry = Registry.open(Settings(data_dir=tmp_path))
    assert registry.mirror is None
    with pytest.raises(UnknownVersion):
        registry.get(NAME)
