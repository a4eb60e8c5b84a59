"""Which images come first: in the demo, and where no detector knows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.demo.synthetic_images import generate_field
from ml_backend.learners.kinds import load_model
from ml_backend.registry.versions import Registry
from tasks.launcher.first_images import (
    MARK_FIRST,
    FirstLook,
    choose_opening,
    choose_to_mark,
    look_at,
    pick_evenly,
)
from tests.conftest import SHARED_DATA


def task(number: int, split: str = "train", sample: str = "") -> dict[str, Any]:
    return {"id": number, "data": {"split": split, "sample": sample}}


def marked(number: int, *confidences: float) -> dict[str, Any]:
    result = [{"score": confidence} for confidence in confidences]
    return {"id": number, "predictions": [{"id": 100 + number, "result": result}]}


def test_the_demo_opens_with_a_clear_image_and_then_a_doubtful_one() -> None:
    tasks = [
        marked(1, 0.99),  # a single box is less to see
        marked(2, 0.9, 0.95, 0.97),
        marked(3, 0.6, 0.98),
        marked(4, 0.3),
        marked(5),
        marked(6, *[0.99] * 20),
    ]
    assert choose_opening(tasks) == [102, 104]
    assert choose_opening(tasks[4:5]) == []
    assert choose_opening([*tasks[4:], {"id": 7, "predictions": []}]) == [106]


@given(st.lists(st.integers(), max_size=40), st.integers(1, 15))
def test_picking_evenly_keeps_the_order_and_takes_the_ends(items: list[int], number: int) -> None:
    picked = pick_evenly(list(enumerate(items)), number)
    assert picked == sorted(picked) and len(picked) == min(number, len(items))
    assert len(set(picked)) == len(picked)
    if items and number > 1:
        assert picked[0][0] == 0 and picked[-1][0] == len(items) - 1


@given(
    st.lists(st.tuples(st.sampled_from(["train", "holdout"]), st.sampled_from("abc")), max_size=40)
)
def test_ten_are_chosen_from_all_samples_with_an_exam_among_them(
    sides: list[tuple[str, str]],
) -> None:
    tasks = [task(number, *side) for number, side in enumerate(sides)]
    chosen = choose_to_mark(tasks)
    held_out = [number for number in chosen if sides[number][0] == "holdout"]
    assert chosen == sorted(set(chosen)) and len(chosen) <= 10
    assert len(held_out) == min(2, sum(side == "holdout" for side, _ in sides))
    train = {number for number, side in enumerate(sides) if side[0] == "train"}
    assert len(set(chosen) & train) == min(10 - len(held_out), len(train))
    of_train = {sides[number][1] for number in train}
    assert {sides[number][1] for number in set(chosen) & train} == of_train


def test_what_follows_is_said_where_nothing_is_known() -> None:
    assert FirstLook(12, 4).is_known and not FirstLook(12, 3).is_known
    assert not FirstLook(0, 0).is_known
    text = FirstLook(12, 2).describe(11)
    assert "in only 2 of 12 images" in text and repr(MARK_FIRST) in text
    assert "in none of 12 images" in FirstLook(12, 0).describe(40)
    few = FirstLook(0, 0).describe(4)
    assert "knows these labels" in few and "Mark all 4 images" in few and MARK_FIRST not in few


def test_the_starter_knows_chromosomes_and_no_noise(starter_versions: Path, tmp_path: Path) -> None:
    model = load_model(Registry(starter_versions, tmp_path).get_folder(_name(starter_versions)))
    paths = []
    for seed in range(3):
        pixels = generate_field(np.random.default_rng(seed))[0]
        paths.append(tmp_path / f"{seed}.png")
        cv2.imwrite(str(paths[-1]), pixels[..., ::-1])
    (tmp_path / "broken.png").write_bytes(b"no image")
    look = look_at(model, [*paths, tmp_path / "broken.png"])
    assert look.images == 3 and look.is_known
    noise = np.random.default_rng(0).integers(90, 110, (3, 400, 500, 3), np.uint8)
    for number, pixels in enumerate(noise):
        cv2.imwrite(str(paths[number]), pixels)
    assert not look_at(model, paths).is_known


@pytest.mark.parametrize(("folder", "known"), [("plant_mitosis", True), ("phase_contrast", False)])
def test_real_images_of_a_known_and_of_another_microscope(
    starter_versions: Path, tmp_path: Path, folder: str, known: bool
) -> None:
    images = SHARED_DATA / folder / "images"
    if not images.is_dir():
        pytest.skip(f"the real images are not at {images}")
    model = load_model(Registry(starter_versions, tmp_path).get_folder(_name(starter_versions)))
    look = look_at(model, sorted(path for path in images.rglob("*") if path.is_file()))
    assert look.images == 12 and look.is_known == known


def _name(versions: Path) -> str:
    (folder,) = versions.glob("starter-mitosis-*")
    return folder.name
