"""Annotations of other programs into a real Label Studio, and out of it."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from tasks.cli.app import app
from tests.conftest import RunningStudio

CONFIG = (files("ml_backend.label_studio.configs") / "mitosis.xml").read_text(encoding="utf-8")
SIZE = (80, 50)


@pytest.fixture
def number(label_studio: RunningStudio, tmp_path: Path) -> int:
    """A connected project with three images, none of them annotated."""
    studio = label_studio.studio
    number = studio.create_project("Exchange", CONFIG).id
    folder = label_studio.media / str(number)
    folder.mkdir(parents=True)
    for name in "abc":
        Image.new("L", SIZE, 30).save(folder / f"{name}.png")
    studio.add_media_folder(number, folder)
    studio.import_tasks(
        number,
        [
            {
                "data": {
                    "image": f"/data/local-files/?d={number}/{name}.png",
                    "source": f"plate/{name}.tif",
                    "split": "train",
                }
            }
            for name in "abc"
        ],
    )
    Projects(Settings(data_dir=tmp_path / "data").projects_database).connect(
        Project(number, label_studio.url, label_studio.account.token, "Exchange", CONFIG)
    )
    return number


def run(*arguments: str | Path, data: Path, code: int = 0) -> dict[str, Any]:
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"], obj=data)
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def coco(*boxes: tuple[str, str, list[float]], images: str) -> str:
    kinds = sorted({label for _, label, _ in boxes})
    return json.dumps(
        {
            "images": [{"id": name, "file_name": f"plate/{name}.tif"} for name in images],
            "categories": [{"id": n, "name": kind} for n, kind in enumerate(kinds)],
            "annotations": [
                {"id": n, "image_id": name, "category_id": kinds.index(label), "bbox": box}
                for n, (name, label, box) in enumerate(boxes)
            ],
        }
    )


def test_annotations_come_in_once_and_go_out_as_they_are(
    label_studio: RunningStudio, number: int, tmp_path: Path
) -> None:
    studio, data = label_studio.studio, tmp_path / "data"
    file = tmp_path / "labels.json"
    cell, other = [10.0, 5.0, 20.0, 10.0], [40.5, 30.25, 12.5, 8.0]
    file.write_text(coco(("a", "Chromosomes", cell), ("a", "Others", other), images="ab"))
    into = ("import", file, "--project", str(number))
    assert run(*into, data=data) == {"new": 2, "known": 0, "boxes": 2, "skipped": []}
    assert run(*into, data=data) == {"new": 0, "known": 2, "boxes": 0, "skipped": []}

    first, second, third = studio.list_tasks(number)
    (annotation,) = first["annotations"]
    assert {region["type"] for region in annotation["result"]} == {"rectanglelabels"}
    assert [len(task["annotations"]) for task in (first, second, third)] == [1, 1, 0]
    assert second["annotations"][0]["result"] == []

    out = tmp_path / "out.coco.json"
    exported = run("export", "--project", str(number), "--out", out, data=data)
    assert (exported["images"], exported["boxes"], exported["skipped"]) == (2, 2, [])
    written = json.loads(out.read_text())
    assert [entry["file_name"] for entry in written["images"]] == ["plate/a.tif", "plate/b.tif"]
    assert {(entry["width"], entry["height"]) for entry in written["images"]} == {SIZE}
    names = {entry["id"]: entry["name"] for entry in written["categories"]}
    boxes = {names[entry["category_id"]]: entry["bbox"] for entry in written["annotations"]}
    assert boxes["Mitotic cell"] == pytest.approx(cell, abs=0.011)
    assert boxes["Other"] == pytest.approx(other, abs=0.011)

    # In whatever format it went out, it is known when it comes back.
    for form in ("yolo", "voc", "geojson"):
        folder = tmp_path / form
        run("export", "--project", str(number), "--out", folder, "--format", form, data=data)
        again = run("import", folder, "--project", str(number), data=data)
        assert again == {"new": 0, "known": 2, "boxes": 0, "skipped": []}


def test_what_was_reviewed_here_is_left_alone_and_said(
    label_studio: RunningStudio, number: int, tmp_path: Path
) -> None:
    studio, data = label_studio.studio, tmp_path / "data"
    reviewed = next(iter(studio.list_tasks(number)))["id"]
    studio.submit_annotation(reviewed, [])
    file = tmp_path / "labels.json"
    box = [10.0, 5.0, 20.0, 10.0]
    file.write_text(
        coco(("a", "Mitosis", box), ("c", "mitotic cell", box), ("c", "Tree", box), images="acz")
    )
    result = run("import", file, "--project", str(number), data=data, code=3)
    assert (result["new"], result["boxes"]) == (1, 1)
    assert [entry["reason"] for entry in result["skipped"]] == [
        "no image of the project is called plate/z.tif",
        "plate/a.tif is annotated in Label Studio already, and differently",
        "plate/c.tif: 1 box called Tree: the project has no such label",
    ]
    first, _, third = studio.list_tasks(number)
    assert [a["result"] for a in first["annotations"]] == [[]]
    assert [a["value"]["rectanglelabels"] for a in third["annotations"][0]["result"]] == [
        ["Mitotic cell"]
    ]
