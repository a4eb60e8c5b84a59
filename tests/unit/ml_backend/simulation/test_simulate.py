"""A whole simulation on generated images, stopped on its way and continued."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from ml_backend.demo.synthetic_images import generate_field
from ml_backend.imaging.decode import encode_png
from ml_backend.registry.versions import Registry
from ml_backend.simulation.effort import LOOK_SECONDS
from ml_backend.simulation.simulate import Plan, simulate, split_groups

IMAGES, GROUPS = 12, 4


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small generated fields of four samples, half of them without a mitosis."""
    folder = tmp_path_factory.mktemp("labelled")
    images, annotations, rows = [], [], ["image,sample"]
    for number in range(IMAGES):
        pixels, boxes = generate_field(number, size=(160, 128), dividing=number % 2, scale=0.4)
        (folder / f"{number}.png").write_bytes(encode_png(pixels))
        rows.append(f"{number}.png,sample {number % GROUPS}")
        images.append({"id": number, "file_name": f"{number}.png", "width": 160, "height": 128})
        for left, top, right, bottom, label, _ in boxes.to_rows():
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": ["Mitotic cell", "Other"].index(label),
                    "bbox": [left, top, right - left, bottom - top],
                }
            )
    categories = [{"id": 0, "name": "Mitotic cell"}, {"id": 1, "name": "Other"}]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(coco))
    (folder / "image_labels.csv").write_text("\n".join(rows))
    return folder


class Stopped(Exception):
    """What ends a simulation from outside."""


def stop(done: float, total: float | None) -> None:
    raise Stopped


def test_goes_on_where_it_was_stopped(
    labelled: Path, starter_versions: Path, tmp_path: Path
) -> None:
    shutil.copytree(starter_versions, tmp_path / "versions")
    registry = Registry(tmp_path / "versions", tmp_path / "champions")
    plan = Plan(labelled, ("random",), seeds=1, batch=3, rounds=1, epochs=1)
    with pytest.raises(Stopped):  # told after the first round
        simulate(plan, registry, tmp_path, stop)
    (first,) = tmp_path.rglob("round-1.json")
    before = first.read_bytes(), first.stat().st_mtime_ns

    told: list[tuple[float, float | None]] = []
    result = simulate(plan, registry, tmp_path, lambda done, total: told.append((done, total)))
    assert (first.read_bytes(), first.stat().st_mtime_ns) == before
    assert told[-1][0] == told[-1][1] and [done for done, _ in told] == sorted(d for d, _ in told)
    rounds = result["strategies"]["random"]["rounds"]
    assert [row["images"] for row in rounds] == [0, 3]
    assert rounds[0]["seconds"] == 0 and rounds[1]["seconds"] >= 3 * LOOK_SECONDS
    assert all(0 <= row["f1"] <= 1 and 0 <= row["ap50"] <= 1 for row in rounds)
    assert result["strategies"]["random"]["to_95"].keys() >= {"images", "boxes", "seconds"}
    assert 0 <= result["full"][0] <= 1 and not result["skipped"]

    # What was reviewed is of groups that do not judge.
    folder = Path(result["folder"])
    reviewed = json.loads(first.read_text())["deleted"]
    judged = split_groups([f"sample {number % GROUPS}" for number in range(IMAGES)], 0)
    assert len(reviewed) == 3
    assert not {f"sample {int(Path(name).stem) % GROUPS}" for name in reviewed} & judged
    assert (folder / "curves.png").stat().st_size > 10_000
    with (folder / "curves.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["f1"]) for row in rows] == [row["f1"] for row in rounds]


def test_keeps_whole_groups_apart() -> None:
    groups = [f"group {number}" for number in range(9)] * 3
    splits = {frozenset(split_groups(groups, seed)) for seed in range(20)}
    assert {len(split) for split in splits} == {3} and len(splits) > 10
    with pytest.raises(ValueError, match="image_labels.csv"):
        split_groups(["only"] * 5, 0)
