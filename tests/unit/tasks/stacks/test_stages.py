"""From stacks to stages by the commands: projected, trained on, told, judged."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from tasks.cli.app import app
from tests.conftest import SHARED_DATA


def run(data: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["stacks", *arguments, "--json"], obj=data)
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def grow_cell(divided: bool, rng: np.random.Generator) -> np.ndarray:
    """(C, Z, Y, X): DNA as one ball or two, seen best along z or y; a membrane around them."""
    z, y, x = np.indices((12, 40, 40)).astype(float)
    z = (z - 5.5) * 3  # planes lie three pixels apart
    y, x = y - 19.5, x - 19.5
    pixels = np.zeros((2, 12, 40, 40))
    offset = 9.0 if divided else 0.0
    for sign in (-1, 1):
        pixels[0] = np.maximum(pixels[0], 200 * (z**2 + y**2 + (x - sign * offset) ** 2 < 36))
    radius = np.sqrt(z**2 + y**2 + x**2)
    pixels[1] = 150 * (abs(radius - 16) < 2)
    return (pixels + rng.normal(20, 5, pixels.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.timeout(600)
def test_three_networks_tell_the_stages_of_stacks(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    metadata = {"axes": "CZYX", "PhysicalSizeZ": 0.3, "PhysicalSizeY": 0.1, "PhysicalSizeX": 0.1}
    for folder in ("learned", "others"):
        for number in range(8):
            stage = "Divided" if number % 2 else "Whole"
            path = tmp_path / folder / stage / f"{number}.ome.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, grow_cell(stage == "Divided", rng), ome=True, metadata=metadata)
    # A stack without a membrane is left out, and takes no other with it.
    alone = tmp_path / "others" / "dna.ome.tif"
    tifffile.imwrite(alone, np.ones((5, 40, 40), np.uint8), ome=True, metadata={"axes": "ZYX"})
    for folder, code in (("learned", 0), ("others", 3)):
        made = run(
            tmp_path, "project", str(tmp_path / folder), "--out", str(tmp_path / f"{folder}-2d"),
            code=code,
        )  # fmt: skip
        assert made["cells"] == 8
    assert "no channel 1" in made["skipped"][0]["reason"]
    pictures = tmp_path / "learned-2d"
    sizes = {axis: cv2.imread(str(pictures / axis / "Whole-0.ome.png")).shape[:2] for axis in "xyz"}
    assert sizes == {"x": (36, 40), "y": (36, 40), "z": (40, 40)}  # three pixels for each plane
    versions = run(tmp_path, "train", str(pictures), "--name", "tried")["versions"]
    assert sorted(versions) == ["x", "y", "z"] and len(set(versions.values())) == 3
    table = tmp_path / "stages.csv"
    told = run(
        tmp_path, "tell", str(tmp_path / "others-2d"), "--trained-on", str(pictures),
        "--out", str(table),
    )  # fmt: skip
    assert len(told["cells"]) == 8 and told["figures"]["accuracy"] >= 0.75
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    for row in rows:
        assert row["stage"] == row[row["view"]] and row["truth"] in ("Divided", "Whole")
    # Along x two balls behind each other look like one: that view cannot be the surest everywhere.
    assert {row["view"] for row in rows} != {"x"}


def test_a_real_stack_is_projected_around_places(tmp_path: Path) -> None:
    source = SHARED_DATA / "plant_zstack" / "rgb_3D.tif"
    if not source.is_file():
        pytest.skip(f"the real stack is not at {source}")
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "rgb.tif").write_bytes(source.read_bytes())
    pixels = tifffile.imread(source)  # its axes stand nowhere
    depth, _, height, width = pixels.shape
    (tmp_path / "stacks" / "cells.csv").write_text(
        f"stack,z,y,x\nrgb.tif,,,\nrgb.tif,{depth // 2},{height // 2},{width // 2}\n"
        f"rgb.tif,{depth + 9},1,1\n",
        encoding="utf-8",
    )
    made = run(
        tmp_path, "project", str(tmp_path / "stacks"), "--out", str(tmp_path / "out"),
        "--voxel", "2,1,1", "--side", "20", "--axes", "zcyx", code=3,
    )  # fmt: skip
    assert made["cells"] == 2 and "outside the stack" in made["skipped"][0]["reason"]
    whole = {
        axis: cv2.imread(str(tmp_path / "out" / axis / "rgb-1.png"))[..., ::-1] for axis in "xyz"
    }
    assert whole["z"].shape == (height, width, 3)
    assert whole["y"].shape == (2 * depth, width, 3) and whole["x"].shape == (2 * depth, height, 3)
    for channel in (0, 1):
        brightest = pixels[:, channel].max(axis=0).ravel()
        shown = whole["z"][..., channel].ravel()[np.argsort(brightest)]
        assert (np.diff(shown.astype(int)) >= 0).all() and shown[-1] == 255
    around = {axis: cv2.imread(str(tmp_path / "out" / axis / "rgb-2.png")).shape for axis in "xyz"}
    assert around == {"x": (20, 20, 3), "y": (20, 20, 3), "z": (20, 20, 3)}
    assert cv2.imread(str(tmp_path / "out" / "composites" / "rgb-2.png")).shape[0] == 480


def test_nothing_is_told_before_something_was_learned(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["stacks", "tell", str(tmp_path)], obj=tmp_path)
    assert done.exit_code == 1 and "cytoloop stacks train" in str(done.exception)
