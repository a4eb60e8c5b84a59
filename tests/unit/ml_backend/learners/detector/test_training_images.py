"""What training sees: boxes that stay on their objects, one scale, regions that are ignored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.dataset.example import Example
from ml_backend.imaging.boxes import Boxes
from ml_backend.learners.detector.augmentation import (
    DELETED,
    TrainingImage,
    augment,
    transform_boxes,
)
from ml_backend.learners.detector.hyperparameters import RECIPE
from ml_backend.learners.detector.preprocess import PADDING
from ml_backend.learners.detector.training_images import (
    choose_canvas,
    choose_scale,
    prepare_training_image,
    read_training_images,
)

# Nothing but geometry: the marked pixels can be found again.
PLAIN = replace(RECIPE, gain=1.0, gamma=1.0, noise=0.0, blur=0.0)
EXACT = replace(PLAIN, warp=0.0)


def view(box: tuple[int, int, int, int], size: tuple[int, int] = (90, 120)) -> TrainingImage:
    """A black field with a white rectangle, marked."""
    pixels = np.zeros((*size, 3), np.uint8)
    x1, y1, x2, y2 = box
    pixels[y1:y2, x1:x2] = 255
    return TrainingImage(
        pixels, np.array([box], np.float32), np.array([0]), np.zeros((0, 4), np.float32)
    )


def white(pixels: np.ndarray) -> tuple[int, int, int, int]:
    """The frame of the white pixels, the oracle for a box."""
    x, y, width, height = cv2.boundingRect((pixels[..., 0] > 180).astype(np.uint8))
    return x, y, x + width, y + height


boxes = st.tuples(st.integers(0, 79), st.integers(0, 59), st.integers(8, 40), st.integers(8, 30))
seeds = st.integers(0, 2**32 - 1)


@given(boxes, seeds, st.sampled_from([(96, 128), (128, 96), (64, 64)]))
@settings(deadline=None, max_examples=60)
def test_what_a_person_removed_is_looked_at_as_an_object(
    box: tuple[int, int, int, int], seed: int, canvas: tuple[int, int]
) -> None:
    """It stays on its pixels; cut by an edge it is no region to be ignored."""
    x, y, width, height = box
    place = replace(view((x, y, x + width, y + height)), label=np.array([DELETED]))
    always = replace(EXACT, near=1.0)
    seen = augment(place, canvas, always, np.random.default_rng(seed))
    assert not len(seen.ignored) and (seen.label == DELETED).all()
    assert all(tuple(one) == white(seen.pixels) for one in seen.xyxy)
    # A window much smaller than the field is laid where the place is.
    small = augment(place, (32, 32), always, np.random.default_rng(seed))
    assert (small.pixels == 255).any()


@given(boxes, seeds, st.sampled_from([(96, 128), (128, 96), (64, 64)]))
@settings(deadline=None, max_examples=60)
def test_boxes_stay_on_their_pixels(
    box: tuple[int, int, int, int], seed: int, canvas: tuple[int, int]
) -> None:
    x, y, width, height = box
    seen = augment(view((x, y, x + width, y + height)), canvas, EXACT, np.random.default_rng(seed))
    assert seen.pixels.shape == (*canvas, 3)
    assert set(np.unique(seen.pixels)) <= {0, PADDING, 255}  # no pixel was blended
    if len(seen.xyxy):
        assert tuple(seen.xyxy[0]) == white(seen.pixels)
        assert not len(seen.ignored)
    elif len(seen.ignored):  # cut by the edge: too little is left to count
        assert tuple(seen.ignored[0]) == white(seen.pixels)


@given(seeds)
@settings(deadline=None, max_examples=40)
def test_turned_discs_have_tight_boxes(seed: int) -> None:
    """The inscribed ellipse of a box is exactly a disc's outline, at any angle."""
    pixels = np.zeros((120, 120, 3), np.uint8)
    cv2.circle(pixels, (60, 60), 25, (255, 255, 255), -1)
    disc = TrainingImage(
        pixels,
        np.array([[35, 35, 86, 86]], np.float32),
        np.array([0]),
        np.zeros((0, 4), np.float32),
    )
    always = replace(PLAIN, warp=1.0, shift=0.0)
    seen = augment(disc, (256, 256), always, np.random.default_rng(seed))
    assert np.abs(seen.xyxy[0] - white(seen.pixels)).max() <= 2.5


def test_turned_boxes_are_smaller_than_around_the_corners() -> None:
    cosine = np.cos(np.pi / 4)
    turned = transform_boxes(
        np.array([[0, 0, 10, 10]], np.float32),
        np.array([[cosine, -cosine], [cosine, cosine]]),
        np.zeros(2),
    )
    assert np.allclose(turned[0, 2:] - turned[0, :2], 10)


def example(path: Path, size: tuple[int, int], boxes: Boxes) -> Example:
    cv2.imwrite(str(path), np.zeros((*size, 3), np.uint8))
    return Example(path, path.stem, boxes)


def test_scale(tmp_path: Path) -> None:
    large = Boxes.from_rows([(0, 0, 200, 200, "a")])
    small = Boxes.from_rows([(0, 0, 40, 40, "a")])
    whole = [example(tmp_path / "a.png", (960, 1280), large)]
    assert choose_scale(whole, None, RECIPE) == RECIPE.imgsz / 1280
    assert choose_scale(whole, 320, RECIPE) == 0.25
    # Small objects in a large field keep a size at which they can be told apart.
    field = [example(tmp_path / "b.png", (1500, 2560), small)]
    assert choose_scale(field, None, RECIPE) == pytest.approx(RECIPE.object_side / 40)
    # Images are not enlarged unasked, and unreadable ones have no say.
    tile = [example(tmp_path / "c.png", (48, 64), Boxes()), Example(tmp_path / "none", "n")]
    assert choose_scale(tile, None, RECIPE) == 1.0
    assert choose_scale(tile[1:], None, RECIPE) == 1.0


def test_views_follow_the_scale_and_ignore_unknown_classes(tmp_path: Path) -> None:
    marks = Boxes.from_rows([(10, 20, 50, 60, "a"), (0, 0, 10, 10, "?"), (5, 5, 5, 9, "a")])
    one = replace(
        example(tmp_path / "a.png", (100, 201), marks),
        ignored=np.array([[100, 0, 201, 100]], np.float32),
    )
    one = replace(one, deleted=np.array([[100, 40, 150, 80]], np.float32))
    [seen] = read_training_images([one], ["b", "a"], 0.5, lambda line: None)
    assert seen.pixels.shape == (50, 100, 3)
    ratio = 100 / 201  # 201 × 0.5 was rounded
    removed = [100 * ratio, 20, 150 * ratio, 40]
    assert np.allclose(seen.xyxy, [[10 * ratio, 10, 50 * ratio, 30], removed])
    assert seen.label.tolist() == [1, DELETED]
    assert np.allclose(seen.ignored, [[100 * ratio, 0, 100, 50], [0, 0, 10 * ratio, 5]])


def test_canvas_is_the_median_views_and_bounded(tmp_path: Path) -> None:
    def sized(height: int, width: int) -> TrainingImage:
        pixels = np.zeros((height, width, 3), np.uint8)
        return prepare_training_image(pixels, Example(tmp_path, "a", Boxes()), [], 1.0)

    assert choose_canvas([sized(507, 640), sized(640, 507), sized(20, 20)], 640) == (512, 640)
    assert choose_canvas([sized(3000, 4000)], 640) == (640, 640)
    assert choose_canvas([sized(20, 30)], 640) == (64, 64)


def test_outputs_follow_the_classes_by_what_they_mean(tmp_path: Path) -> None:
    from ml_backend.learners.detector import weights
    from ml_backend.learners.model_file import ModelCard

    def outputs(model: torch.nn.Module) -> torch.Tensor:
        return model.state_dict()["model.24.cv3.0.2.bias"]

    base = weights.build_network("yolov5n", ("Mitotic cell", "Other"))
    with torch.no_grad():
        base.model[-1].cv3[0][2].bias.copy_(torch.tensor([1.0, 2.0]))
    path = tmp_path / "base.safetensors"
    card = ModelCard("yolov5n", ("Mitotic cell", "Other"), ("Mitotic cell",), 0.5, 0.3)
    weights.save_weights(base.state_dict(), card, path)

    same = weights.build_network("yolov5n", ("others", "Chromosomes"))
    assert weights.load_base(same, path, ("others", "Chromosomes"))
    assert outputs(same).tolist() == [2.0, 1.0]
    more = weights.build_network("yolov5n", ("Tetrad", "Mitotic cell", "Other"))
    before = outputs(more)[0].item()
    assert not weights.load_base(more, path, ("Tetrad", "Mitotic cell", "Other"))
    assert outputs(more).tolist() == [before, 1.0, 2.0]
    with pytest.raises(ValueError, match="no such file"):
        weights.load_base(more, tmp_path / "none.npz", ("a",))
    (tmp_path / "text.npz").write_text("junk")
    with pytest.raises(ValueError, match="it is no .npz file"):
        weights.load_base(more, tmp_path / "text.npz", ("a",))
