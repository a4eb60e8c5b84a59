"""The labeling screen in a real browser: are the boxes drawn, and does Submit keep them?"""

from __future__ import annotations

import io
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from ml_backend.dataset.corrections import EDIT_KINDS, find_shown_regions, read_corrections
from ml_backend.demo.synthetic_images import generate_field
from ml_backend.imaging.decode import decode
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.labeling_config import LabelingConfig
from tests.conftest import SHARED_DATA, RunningStudio

ORANGE = (0xE6, 0x9F, 0x00)  # the colour of Mitotic cell in the ready-made labels
VERSION = "screen-1"
# x, y, width, height in percent of the image, and the score
Box = tuple[float, float, float, float, float]
BOXES: list[Box] = [(10.0, 15.0, 30.0, 40.0, 0.87), (55.0, 50.0, 25.0, 35.0, 0.42)]


@dataclass(frozen=True)
class Marked:
    project: int
    task: int
    prediction: int


@pytest.fixture(scope="module")
def marked(label_studio: RunningStudio) -> Marked:
    return mark(label_studio, BOXES)


def mark(label_studio: RunningStudio, boxes: list[Box]) -> Marked:
    """A project with one image, and these boxes as its pre-annotation."""
    studio = label_studio.studio
    labels = (files("ml_backend.label_studio.configs") / "mitosis.xml").read_text(encoding="utf-8")
    project = studio.create_project("Labeling screen", labels).id
    folder = label_studio.media / str(project)
    folder.mkdir(parents=True)
    pixels = a_field()
    cv2.imwrite(str(folder / "field.png"), pixels[..., ::-1])
    studio.add_media_folder(project, folder)
    address = f"/data/local-files/?d={project}/field.png"
    (task,) = studio.import_tasks(project, [{"data": {"image": address}}])
    height, width = pixels.shape[:2]
    result = [region(box, width, height) for box in boxes]
    studio.import_predictions(project, labels, [(task, VERSION, 0.42, result)])
    assert studio.set_model_version(project, VERSION)
    studio.ensure_view(project)
    return Marked(project, task, predictions_of(studio, project)[0]["id"])


def predictions_of(studio: Studio, project: int) -> list[dict[str, Any]]:
    return next(studio.list_tasks(project))["predictions"]


def a_field() -> np.ndarray:
    """A real image where there is one, else a generated one."""
    real = SHARED_DATA / "plant_mitosis" / "images" / "Os1.png"
    return decode(real) if real.exists() else generate_field(1)[0]


def region(box: Box, width: int, height: int) -> dict[str, Any]:
    x, y, w, h, score = box
    return {
        "id": f"box{x:.0f}",
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": score,
        "value": {
            "x": x, "y": y, "width": w, "height": h, "rotation": 0,
            "rectanglelabels": ["Mitotic cell"],
        },
    }  # fmt: skip


def open_task(page: Any, studio: RunningStudio, marked: Marked, boxes: int = len(BOXES)) -> None:
    page.goto(
        f"{studio.url}/projects/{marked.project}/data?task={marked.task}", wait_until="commit"
    )
    page.wait_for_function(
        "count => window.Htx?.annotationStore?.selected?.regions?.length === count",
        arg=boxes,
    )
    page.get_by_text("Mitotic cell").first.wait_for()
    page.wait_for_function(
        "() => [...document.querySelectorAll('img')].some("
        "img => img.src.includes('field.png') && img.complete && img.naturalWidth > 0)"
    )
    page.wait_for_timeout(1000)  # the canvas is drawn in the frames after


def frame(page: Any) -> tuple[float, float, float, float]:
    """Left, top, width and height of the image on the screen, in pixels."""
    return tuple(
        page.evaluate(
            "() => { const box = document.querySelector('.konvajs-content canvas')"
            ".getBoundingClientRect(); return [box.x, box.y, box.width, box.height]; }"
        )
    )


def orange(pixels: np.ndarray) -> np.ndarray:
    """Which pixels have the label's colour, give or take the blur of a line's edge."""
    return (np.abs(pixels.astype(int) - ORANGE).max(axis=-1) < 60) & (
        pixels[..., 0].astype(int) - pixels[..., 2] > 100
    )


def test_the_boxes_are_drawn_with_their_scores(
    page: Any, label_studio: RunningStudio, marked: Marked, tmp_path: Path
) -> None:
    open_task(page, label_studio, marked)

    # What the editor holds: a new annotation, with the regions of the pre-annotation.
    held = page.evaluate(
        "() => { const one = window.Htx.annotationStore.selected; return {type: one.type, "
        "regions: one.regions.map(r => [r.x, r.y, r.width, r.height, r.score, r.labels[0]])}; }"
    )
    assert held["type"] == "annotation"
    assert sorted(map(tuple, held["regions"])) == [(*box, "Mitotic cell") for box in sorted(BOXES)]

    # What the list beside it says.
    for *_, score in BOXES:
        assert page.get_by_text(f"{score:.2f}", exact=True).first.is_visible()

    # What is really on the screen: lines of the label's colour along every edge, and none
    # where there is no box.
    page.screenshot(path=tmp_path / "screen.png")
    left, top, width, height = frame(page)
    screen = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
    lines = orange(screen)
    for x, y, w, h, _ in BOXES:
        for across, place in ((True, y), (True, y + h), (False, x), (False, x + w)):
            steps = np.linspace(0.1, 0.9, 40)
            xs = x + w * steps if across else np.full(40, place)
            ys = np.full(40, place) if across else y + h * steps
            columns = np.round(left + xs / 100 * width).astype(int)
            rows = np.round(top + ys / 100 * height).astype(int)
            near = [
                lines[r - 3 : r + 4, c - 3 : c + 4].any()
                for r, c in zip(rows, columns, strict=True)
            ]
            assert np.mean(near) > 0.9, f"no line at {place} of {(x, y, w, h)}"
    empty = lines[
        int(top + 0.90 * height) : int(top + 0.98 * height),
        int(left + 0.05 * width) : int(left + 0.50 * width),
    ]
    assert not empty.any()


def test_submit_keeps_the_regions_and_where_they_came_from(
    page: Any, label_studio: RunningStudio, marked: Marked
) -> None:
    open_task(page, label_studio, marked)
    with page.expect_response(lambda reply: "/annotations" in reply.url) as answer:
        page.get_by_role("button", name="Submit").click()
    assert answer.value.status == 201
    (task,) = label_studio.studio.list_annotated_tasks(marked.project)
    (annotation,) = task["annotations"]
    assert annotation["parent_prediction"] == marked.prediction
    kept = [region["value"] for region in annotation["result"]]
    assert sorted((v["x"], v["y"], v["width"], v["height"]) for v in kept) == [
        pytest.approx(box[:4], abs=0.01) for box in sorted(BOXES)
    ]
    assert list(label_studio.studio.list_untouched_tasks(marked.project)) == []


def test_what_an_annotator_does_to_each_region_is_told_apart(
    page: Any, label_studio: RunningStudio
) -> None:
    """The editor keeps ids and says where a region comes from; `corrections` builds on it."""
    boxes = [
        (10.0, 15.0, 15.0, 20.0, 0.87),  # dragged
        (55.0, 50.0, 15.0, 20.0, 0.42),  # deleted
        (70.0, 10.0, 12.0, 15.0, 0.61),  # relabelled
        (30.123456, 60.654321, 12.0, 15.0, 0.73),  # left as it is
    ]
    dragged, deleted, relabelled, _ = boxes
    marked = mark(label_studio, boxes)
    open_task(page, label_studio, marked, len(boxes))
    left, top, width, height = frame(page)

    def middle(box: Box) -> tuple[float, float]:
        return left + (box[0] + box[2] / 2) / 100 * width, top + (
            box[1] + box[3] / 2
        ) / 100 * height

    def press(key: str) -> None:
        page.keyboard.press(key)
        page.wait_for_timeout(300)

    def drag(x: float, y: float, by_x: float, by_y: float) -> None:
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + by_x, y + by_y, steps=5)
        page.mouse.up()
        page.wait_for_timeout(500)

    for box in (dragged, deleted, relabelled):
        page.mouse.click(*middle(box))
        page.wait_for_timeout(300)
        if box is dragged:
            drag(*middle(box), 0.03 * width, 0.03 * height)
        press({dragged: "Escape", deleted: "Backspace", relabelled: "2"}[box])
    press("Escape")
    press("1")
    drag(left + 0.8 * width, top + 0.8 * height, 0.1 * width, 0.12 * height)
    with page.expect_response(lambda reply: "/annotations" in reply.url) as answer:
        page.get_by_role("button", name="Submit").click()
    assert answer.value.status == 201

    (task,) = label_studio.studio.list_annotated_tasks(marked.project)
    (annotation,) = task["annotations"]
    origins = {region["id"]: region["origin"] for region in annotation["result"]}
    assert {key: origin for key, origin in origins.items() if origin != "manual"} == {
        "box10": "prediction-changed",
        "box70": "prediction-changed",
        "box30": "prediction",
    }
    labels = LabelingConfig.parse(
        (files("ml_backend.label_studio.configs") / "mitosis.xml").read_text(encoding="utf-8")
    )
    (correction,), from_nothing = read_corrections(task, find_shown_regions(task), labels)
    assert [edit.change for edit in correction.edits] == list(EDIT_KINDS) and from_nothing == 0
    assert correction.version == VERSION and correction.seconds is not None


def test_the_data_manager_shows_the_score(
    page: Any, label_studio: RunningStudio, marked: Marked
) -> None:
    page.goto(f"{label_studio.url}/projects/{marked.project}/data", wait_until="commit")
    page.get_by_text("Review queue").first.wait_for()
    page.get_by_text("Prediction score").first.wait_for()
    page.get_by_text(VERSION).first.wait_for()
    assert page.get_by_text("0.42").first.is_visible()
