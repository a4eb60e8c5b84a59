"""Versions appear whole or not at all; the champion moves in a recorded line."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ml_backend.learners.kinds import load_model
from ml_backend.learners.model_file import ModelCard
from ml_backend.registry.versions import Registry, UnknownVersion, Version, WeightsRemoved
from ml_backend.system.plain_files import hash_file

CARD = ModelCard("yolov5n", ("Mitotic cell",), ("Mitotic cell",), 0.4, 0.3)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "versions", tmp_path / "champions")


def weights(folder: Path, value: float = 1.0) -> Path:
    path = folder / "weights.safetensors"
    save_file({"a": np.full(3, value, np.float16)}, path, CARD.to_metadata())
    return path


def add(registry: Registry, folder: Path, name: str, project: str = "1") -> Version:
    return registry.add(Version(name, project, 1.0, seen_groups=("a",)), [weights(folder)])


def test_a_version_reads_back_as_it_was_added(registry: Registry, tmp_path: Path) -> None:
    version = add(registry, tmp_path, "1-v1-aaaa")
    assert registry.get("1-v1-aaaa") == version
    assert registry.read_card("1-v1-aaaa") == CARD
    assert registry.list_versions("1") == [version] and registry.list_versions("2") == []


def test_adding_again_changes_nothing(registry: Registry, tmp_path: Path) -> None:
    add(registry, tmp_path, "1-v1-aaaa")
    before = hash_file(registry.get_folder("1-v1-aaaa") / "weights.safetensors")
    registry.add(Version("1-v1-aaaa", "1", 2.0), [weights(tmp_path, 2.0)])
    assert hash_file(registry.get_folder("1-v1-aaaa") / "weights.safetensors") == before


def test_a_file_that_is_no_model_adds_nothing(registry: Registry, tmp_path: Path) -> None:
    bad = tmp_path / "weights.safetensors"
    save_file({"a": np.zeros(1)}, bad)
    with pytest.raises(ValueError, match="not a cytoloop model file"):
        registry.add(Version("1-v1-aaaa", "1", 1.0), [bad])
    assert registry.list_versions() == []
    assert not list((tmp_path / "versions").iterdir())


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b"])
def test_a_name_that_is_no_folder_name_is_refused(
    registry: Registry, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ValueError):
        registry.add(Version(name, "1", 1.0), [weights(tmp_path)])
    with pytest.raises(UnknownVersion):
        registry.get(name)


def test_a_version_whose_adding_was_killed_is_not_there(registry: Registry, tmp_path: Path) -> None:
    add(registry, tmp_path, "1-v1-a")
    whole = registry.get_folder("1-v1-a")
    shutil.copytree(whole, whole.with_name(".1-v2-b.0a1b2c3d"))
    registry.promote("1", "1-v1-a", by="ann", reason="first")
    champions = tmp_path / "champions"
    shutil.copyfile(champions / "1.json", champions / ".1.0a1b2c3d.json")
    assert [version.name for version in registry.list_versions()] == ["1-v1-a"]
    assert registry.list_projects_led_by("1-v1-a") == ["1"]


def test_names_count_up_and_carry_the_hash(registry: Registry, tmp_path: Path) -> None:
    path = weights(tmp_path)
    first = registry.make_name("1", path)
    assert first == f"1-v1-{hash_file(path)[:8]}"
    registry.add(Version(first, "1", 1.0), [path])
    assert registry.make_name("1", path).startswith("1-v2-")
    assert registry.make_name("12", path).startswith("12-v1-")


def test_rollback_goes_back_step_by_step(registry: Registry, tmp_path: Path) -> None:
    for name in ("1-v1-a", "1-v2-b", "1-v3-c"):
        add(registry, tmp_path, name)
        registry.promote("1", name, by="ann", reason="better")
    assert registry.get_champion("1") == "1-v3-c"
    assert registry.list_projects_led_by("1-v3-c") == ["1"]
    assert registry.roll_back("1", by="bob", reason="worse").version == "1-v2-b"
    assert registry.roll_back("1", by="bob", reason="worse").version == "1-v1-a"
    with pytest.raises(UnknownVersion, match="no earlier champion"):
        registry.roll_back("1", by="bob", reason="worse")
    history = registry.list_changes("1")
    assert [change.kind for change in history] == ["promotion"] * 3 + ["rollback"] * 2
    assert history[-1].by == "bob" and history[-1].previous == "1-v2-b"
    # A promotion after a rollback starts from where the rollback led.
    registry.promote("1", "1-v3-c", by="ann", reason="after all")
    assert registry.roll_back("1", by="bob", reason="no").version == "1-v1-a"


def test_promoting_what_is_not_there_changes_nothing(registry: Registry, tmp_path: Path) -> None:
    add(registry, tmp_path, "1-v1-a")
    registry.promote("1", "1-v1-a", by="ann", reason="first")
    with pytest.raises(UnknownVersion, match="1-v1-a"):
        registry.promote("1", "1-v9-z", by="ann", reason="typo")
    assert registry.get_champion("1") == "1-v1-a"


def test_another_process_sees_the_champion_at_once(registry: Registry, tmp_path: Path) -> None:
    reader = Registry(tmp_path / "versions", tmp_path / "champions")
    assert reader.get_champion("1") is None
    add(registry, tmp_path, "1-v1-a")
    registry.promote("1", "1-v1-a", by="ann", reason="first")
    assert reader.get_champion("1") == "1-v1-a"


def test_without_its_weights_a_version_keeps_what_it_tells(
    registry: Registry, tmp_path: Path
) -> None:
    """It is listed, with card, figures and pictures, and says why it cannot be promoted."""
    for name in ("1-v1-a", "1-v2-b"):
        add(registry, tmp_path, name)
    folder = registry.get_folder("1-v2-b")
    (folder / "int8").mkdir()
    for path in ("model.bin", "int8/model.bin", "curves.png", "fold-1.json"):
        (folder / path).write_bytes(b"12")
    registry.record(replace(registry.get("1-v2-b"), figures={"f1": 0.5}))
    size = registry.measure_weights("1-v2-b")
    assert size == 4 + (folder / "weights.safetensors").stat().st_size
    before = registry.read_card("1-v2-b")
    registry.remove_weights("1-v2-b")
    registry.remove_weights("1-v2-b")  # again, as after a kill
    assert registry.measure_weights("1-v2-b") == 0 < registry.measure_weights("1-v1-a")
    assert registry.get("1-v2-b").figures == {"f1": 0.5}
    assert registry.read_card("1-v2-b") == before
    assert {path.name for path in folder.iterdir()} == {
        "weights.safetensors", "curves.png", "fold-1.json", "version.json",
    }  # fmt: skip
    with pytest.raises(WeightsRemoved, match="were removed by cytoloop tidy on 2"):
        registry.promote("1", "1-v2-b", by="ann", reason="by hand")
    with pytest.raises(ValueError, match="has no weights any more"):
        load_model(folder)
    registry.promote("1", "1-v1-a", by="ann", reason="by hand")
    assert registry.list_ever_champions() == {"1-v1-a"}
