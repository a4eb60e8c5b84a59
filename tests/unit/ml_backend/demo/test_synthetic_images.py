"""Generated fields against their own light."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.demo.synthetic_images import (
    EXTENT,
    KARYOTYPES,
    PHASES,
    generate_field,
    generate_mitosis_scene,
    generate_tetrad_scene,
    place_object,
    vary_karyotype,
)

SMALL = {"size": (460, 346), "scale": 1 / 3}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("species", ["onion-like", "tobacco-like", "rice-like"])
def test_nothing_of_a_cell_is_outside_its_box_and_every_side_touches_it(
    phase: str, species: str
) -> None:
    rng = np.random.default_rng(7)
    light = PHASES[phase](rng, vary_karyotype(rng, species, 0.5))
    canvas = np.zeros((800, 800), np.float32)
    placed = place_object(rng, canvas, light, phase, [], edge=False, clump=0, near=1)
    assert placed is not None
    x1, y1, x2, y2 = placed.box
    threshold = EXTENT * np.percentile(canvas[canvas > 0.05 * canvas.max()], 90)
    lit = canvas > threshold
    assert lit[y1:y2, x1:x2].sum() == lit.sum()
    for side in (lit[y1, x1:x2], lit[y2 - 1, x1:x2], lit[y1:y2, x1], lit[y1:y2, x2 - 1]):
        assert side.any()


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["mitosis", "tetrads"]))
def test_boxes_lie_inside_the_image_and_frame_their_masks(seed: int, kind: str) -> None:
    scene = (generate_mitosis_scene if kind == "mitosis" else generate_tetrad_scene)(seed, **SMALL)
    height, width = scene.image.shape[:2]
    assert (width, height) == SMALL["size"] and scene.image.dtype == np.uint8
    for placed in scene.objects:
        x1, y1, x2, y2 = placed.box
        assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
        rows, columns = np.nonzero(placed.mask)
        assert (columns.min() + placed.left, rows.min() + placed.top) == (x1, y1)
        assert (columns.max() + placed.left + 1, rows.max() + placed.top + 1) == (x2, y2)


def test_a_seed_gives_one_image_and_another_seed_another() -> None:
    first, boxes = generate_field(3, **SMALL)
    again, same = generate_field(3, **SMALL)
    other, _ = generate_field(4, **SMALL)
    assert np.array_equal(first, again) and boxes.to_rows() == same.to_rows()
    assert not np.array_equal(first, other)


def test_every_phase_and_species_occurs() -> None:
    names = {o.name for seed in range(40) for o in generate_mitosis_scene(seed, **SMALL).objects}
    assert names >= {*PHASES, "Interphase", "Debris"}
    for species in KARYOTYPES:
        assert generate_mitosis_scene(0, species=species, **SMALL).objects


def test_labels_are_those_of_the_ready_made_configs() -> None:
    mitosis = {str(name) for seed in range(6) for name in generate_field(seed, **SMALL)[1].label}
    phases = {
        str(name)
        for seed in range(12)
        for name in generate_field(seed, labels="phases", **SMALL)[1].label
    }
    tetrads = {
        str(name) for seed in range(2) for name in generate_field(seed, "tetrads", **SMALL)[1].label
    }
    assert mitosis == {"Mitotic cell", "Other"}
    assert phases == {*PHASES, "Interphase"}
    assert tetrads == {"Tetrad", "Triad", "Dyad", "Monad"}


def test_none_dividing_means_no_mitotic_cell() -> None:
    for seed in range(10):
        _, boxes = generate_field(seed, dividing=0, **SMALL)
        assert "Mitotic cell" not in boxes.label


def test_boxed_cells_are_brighter_than_the_ground() -> None:
    for seed in range(10):
        image, boxes = generate_field(seed, dividing=1, **SMALL)
        for x1, y1, x2, y2 in boxes.xyxy[boxes.label == "Mitotic cell"].astype(int):
            inside = np.percentile(image[y1:y2, x1:x2, 0], 80)
            assert inside > np.median(image[..., 0]) + 15
