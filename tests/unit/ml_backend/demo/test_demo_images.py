"""Generated fields against their own light; fetching against a real HTTP server."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.demo.demo_images import demo_images, fetch, published
from ml_backend.demo.synthetic_images import (
    EXTENT,
    KARYOTYPES,
    PHASES,
    _karyotype,
    _place,
    field,
    mitosis_scene,
    tetrad_scene,
)

SMALL = {"size": (460, 346), "scale": 1 / 3}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("species", ["onion-like", "tobacco-like", "rice-like"])
def test_nothing_of_a_cell_is_outside_its_box_and_every_side_touches_it(
    phase: str, species: str
) -> None:
    rng = np.random.default_rng(7)
    light = PHASES[phase](rng, _karyotype(rng, species, 0.5))
    canvas = np.zeros((800, 800), np.float32)
    placed = _place(rng, canvas, light, phase, [], edge=False, clump=0, near=1)
    assert placed is not None
    x1, y1, x2, y2 = placed.box()
    threshold = EXTENT * np.percentile(canvas[canvas > 0.05 * canvas.max()], 90)
    lit = canvas > threshold
    assert lit[y1:y2, x1:x2].sum() == lit.sum()
    for side in (lit[y1, x1:x2], lit[y2 - 1, x1:x2], lit[y1:y2, x1], lit[y1:y2, x2 - 1]):
        assert side.any()


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["mitosis", "tetrads"]))
def test_boxes_lie_inside_the_image_and_frame_their_masks(seed: int, kind: str) -> None:
    scene = (mitosis_scene if kind == "mitosis" else tetrad_scene)(seed, **SMALL)
    height, width = scene.image.shape[:2]
    assert (width, height) == SMALL["size"] and scene.image.dtype == np.uint8
    for placed in scene.objects:
        x1, y1, x2, y2 = placed.box()
        assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
        rows, columns = np.nonzero(placed.mask)
        assert (columns.min() + placed.left, rows.min() + placed.top) == (x1, y1)
        assert (columns.max() + placed.left + 1, rows.max() + placed.top + 1) == (x2, y2)


def test_a_seed_gives_one_image_and_another_seed_another() -> None:
    first, boxes = field(3, **SMALL)
    again, same = field(3, **SMALL)
    other, _ = field(4, **SMALL)
    assert np.array_equal(first, again) and boxes.to_rows() == same.to_rows()
    assert not np.array_equal(first, other)


def test_every_phase_and_species_occurs() -> None:
    names = {o.name for seed in range(40) for o in mitosis_scene(seed, **SMALL).objects}
    assert names >= {*PHASES, "Interphase", "Debris"}
    for species in KARYOTYPES:
        assert mitosis_scene(0, species=species, **SMALL).objects


def test_labels_are_those_of_the_ready_made_configs() -> None:
    mitosis = {str(name) for seed in range(6) for name in field(seed, **SMALL)[1].label}
    phases = {
        str(name) for seed in range(12) for name in field(seed, labels="phases", **SMALL)[1].label
    }
    tetrads = {str(name) for seed in range(2) for name in field(seed, "tetrads", **SMALL)[1].label}
    assert mitosis == {"Mitotic cell", "Other"}
    assert phases == {*PHASES, "Interphase"}
    assert tetrads == {"Tetrad", "Triad", "Dyad", "Monad"}


def test_none_dividing_means_no_mitotic_cell() -> None:
    for seed in range(10):
        _, boxes = field(seed, dividing=0, **SMALL)
        assert "Mitotic cell" not in boxes.label


def test_boxed_cells_are_brighter_than_the_ground() -> None:
    for seed in range(10):
        image, boxes = field(seed, dividing=1, **SMALL)
        for x1, y1, x2, y2 in boxes.xyxy[boxes.label == "Mitotic cell"].astype(int):
            inside = np.percentile(image[y1:y2, x1:x2, 0], 80)
            assert inside > np.median(image[..., 0]) + 15


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A server that has one.png and two.png."""
    served = tmp_path / "served"
    served.mkdir()
    for name in ("one.png", "two.png"):
        (served / name).write_bytes(name.encode() * 1000)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served)))
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}/"
    http.shutdown()
    http.server_close()


def digest(name: str) -> str:
    return hashlib.sha256(name.encode() * 1000).hexdigest()


def test_right_files_are_kept_by_sample_and_wrong_or_missing_ones_refused(
    server: str, tmp_path: Path
) -> None:
    registry = {
        "A/one.png": digest("one.png"),
        "B/two.png": digest("something else"),
        "B/three.png": digest("three.png"),
    }
    paths, refused, failure = fetch(tmp_path / "got", registry, server)
    assert paths == [tmp_path / "got" / "A" / "one.png"]
    assert sorted(refused) == ["B/three.png", "B/two.png"] and failure == ""
    there = [path.name for path in (tmp_path / "got").rglob("*") if path.is_file()]
    assert there == ["one.png"], "nothing of a refused file may be left"


def test_what_is_there_is_not_fetched_again(server: str, tmp_path: Path) -> None:
    registry = {"A/one.png": digest("one.png")}
    fetch(tmp_path / "got", registry, server)
    paths, refused, failure = fetch(tmp_path / "got", registry, "http://127.0.0.1:9/")
    assert len(paths) == 1 and not refused and not failure


def test_a_server_that_is_not_there_ends_the_fetching_at_once(tmp_path: Path) -> None:
    registry = {f"A/{n}.png": digest(str(n)) for n in range(100)}
    paths, refused, failure = fetch(tmp_path / "got", registry, "http://127.0.0.1:9/")
    assert not paths and not refused and failure == "ConnectionError"


def test_without_the_public_files_the_demo_has_generated_ones(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ml_backend.demo.demo_images.GENERATED", 9
    )  # enough for one of each species
    steps = []
    found = demo_images(tmp_path, lambda done, total: steps.append((done, total)), address=server)
    assert not found.real and len(found.paths) == 9
    assert "generated" in found.origin and "not the published files" in found.origin
    assert steps[-1] == (9, 9)
    assert {path.parent.name for path in found.paths} == set(KARYOTYPES)
    assert cv2.imread(str(found.paths[0])).shape == (1040, 1388, 3)


def test_the_list_of_public_images_names_three_samples() -> None:
    names = published()
    assert {name.split("/")[0] for name in names} == {"Asa", "Os", "Ta"} and len(names) == 17
    assert all(len(sha256) == 64 for sha256 in names.values())
