"""What users call a model, and the INT8 form of a version."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_backend.learners.model_file import FILE_NAME, IR_FILES
from ml_backend.registry.resolve import (
    NoInt8,
    find_base,
    find_int8,
    resolve_model,
    store_int8,
)
from ml_backend.registry.starters import find_starter_weights, list_starters, name_starter
from ml_backend.registry.versions import Registry, UnknownVersion


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "versions", tmp_path / "champions")


@pytest.mark.parametrize("model", ["starter:none", "none", "none.safetensors", "base.npz"])
def test_what_there_is_not_is_told(registry: Registry, model: str) -> None:
    with pytest.raises(UnknownVersion):
        resolve_model(model, registry)
    assert registry.list_versions() == []


def test_a_file_that_is_not_ours_is_refused(registry: Registry, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(b"junk")
    with pytest.raises(ValueError, match="is not a cytoloop model file"):
        resolve_model(str(path), registry)


def test_bases(registry: Registry, tmp_path: Path) -> None:
    assert find_base("", registry) == (None, None)
    arrays = tmp_path / "base.npz"
    with pytest.raises(UnknownVersion):
        find_base(str(arrays), registry)
    arrays.write_bytes(b"")
    assert find_base(str(arrays), registry) == (arrays, None)
    for starter in list_starters():
        path, version = find_base(starter, registry)
        assert path == find_starter_weights(starter)
        assert version is not None and version.name == name_starter(starter)
        assert version.seen_hashes


def test_an_int8_form_is_whole_or_only_its_report(registry: Registry, tmp_path: Path) -> None:
    version, made = registry.get_folder("v"), tmp_path / "made"
    version.mkdir(parents=True)
    made.mkdir()
    (version / FILE_NAME).write_bytes(b"weights")
    for name in IR_FILES:
        (made / name).write_text(name)
    with pytest.raises(NoInt8, match="no INT8 form yet"):
        find_int8("v", registry)

    store_int8(version, made, {"accepted": True, "why": []})
    form = find_int8("v", registry)
    assert {path.name for path in form.iterdir()} == {FILE_NAME, *IR_FILES, "report.json"}

    store_int8(version, made, {"accepted": False, "why": ["boxes moved"]})
    with pytest.raises(NoInt8, match="boxes moved"):
        find_int8("v", registry)
    assert {path.name for path in version.iterdir()} == {FILE_NAME, form.name}
    assert {path.name for path in form.iterdir()} == {"report.json"}
