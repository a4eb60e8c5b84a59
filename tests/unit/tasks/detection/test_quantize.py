"""The INT8 form of the starter: made from tiles, compared on others, asked for by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import pytest

from ml_backend.demo.synthetic_images import generate_mitosis_scene
from ml_backend.evaluation.detector_agreement import Margins
from ml_backend.learners.detector.inference import Detector
from ml_backend.registry.resolve import (
    INT8,
    INT8_REPORT,
    NoInt8,
    find_form,
    find_int8,
    is_int8,
    store_int8,
)
from ml_backend.registry.versions import Registry
from tasks.detection.quantize import quantize

SIDE = 192


@pytest.fixture
def registry(starter_versions: Path, tmp_path: Path) -> Registry:
    shutil.copytree(starter_versions, tmp_path / "versions")
    return Registry(tmp_path / "versions", tmp_path / "champions")


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    folder = tmp_path / "tiles"
    folder.mkdir()
    scene = generate_mitosis_scene(3, (6 * SIDE, 4 * SIDE), dividing=16).image
    for row in range(4):
        for column in range(6):
            tile = scene[row * SIDE :, column * SIDE :][:SIDE, :SIDE]
            cv2.imwrite(str(folder / f"{row}{column}.png"), tile[..., ::-1])
    (folder / "99.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def test_an_int8_form_is_made_compared_and_used(registry: Registry, tiles: Path) -> None:
    pytest.importorskip("nncf", reason="the extra int8 is not installed")
    (version,) = registry.list_versions()
    told: list[float] = []
    loose = Margins(tiles=20, f1=0.6, same=0.6, shift=4.0)  # generated cells, three to fit to
    result = quantize(
        tiles, registry.get_folder(version.name), lambda done, _: told.append(done), margins=loose
    )
    assert result["accepted"], result["why"]
    assert (result["fitted"], result["tiles"]) == (3, 21)
    assert told[-1] == 21
    assert [entry["source"] for entry in result["skipped"]] == ["99.png"]
    folder = find_int8(version.name, registry)
    assert "i8" in (folder / "model.xml").read_text(encoding="utf-8")
    image = generate_mitosis_scene(4, (SIDE, SIDE), dividing=2).image
    full, fast = (
        Detector.load(model_folder) for model_folder in (registry.get_folder(version.name), folder)
    )
    assert len(fast.detect([image])[0]) == len(full.detect([image])[0])


def test_a_version_without_an_accepted_form_says_what_to_do(
    registry: Registry, tmp_path: Path
) -> None:
    (version,) = registry.list_versions()
    with pytest.raises(NoInt8, match=f"cytoloop quantize FOLDER --model {version.name}"):
        find_int8(version.name, registry)
    folder = registry.get_folder(version.name)
    store_int8(folder, folder, {"accepted": True})
    assert find_int8(version.name, registry) == folder / INT8
    forms = [find_form(version.name, registry, wish) for wish in (None, True, False)]
    assert forms == [folder / INT8, folder / INT8, folder]
    assert [is_int8(form) for form in forms] == [True, True, False]
    store_int8(folder, tmp_path, {"accepted": False, "why": ["boxes move by 3 px"]})
    with pytest.raises(NoInt8, match="boxes move by 3 px"):
        find_int8(version.name, registry)
    assert find_form(version.name, registry, None) == folder
    assert [path.name for path in (folder / INT8).iterdir()] == [INT8_REPORT]
    assert json.loads((folder / INT8 / INT8_REPORT).read_text())["accepted"] is False
    assert not list(folder.glob(".*"))
