"""Where it is known how many µm a pixel shows, that decides how large an object is to the network:
in training and in serving, in tasks, scans and judgements alike."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.dataset.example import Example
from ml_backend.dataset.folder import read_folder
from ml_backend.imaging.boxes import Boxes
from ml_backend.imaging.decode import encode_png
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.learners.detector import inference as module
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.detector.preprocess import FAR, compute_scale
from ml_backend.learners.detector.training_data.training_images import (
    compute_median_pixel_size,
    read_training_images,
)
from ml_backend.learners.model_file import ModelCard, read_card
from ml_backend.learners.training_job import TrainingJob
from ml_backend.promotion.predict_examples import predict_examples
from ml_backend.registry.starters import STARTERS
from ml_backend.serving.preannotation import PreAnnotation, PreAnnotator
from tasks.cli.source_options import parse_source_options
from tasks.detection.scan_detector import ScanDetector
from tasks.sources.scan_source import SourceOptions
from tests.blobs import Blobs

# Trained on images of 0.25 µm a pixel, at half their size: an input pixel shows 0.5 µm.
KNOWING = ModelCard("yolov5n", ("Cell", "Other"), ("Cell",), 0.5, 0.3, input_um=0.5)
PLAIN = ModelCard("yolov5n", ("Cell", "Other"), ("Cell",), 0.5, 0.3)


def scene(seed: int, width: int = 240, height: int = 180) -> np.ndarray:
    """Bright squares that do not touch each other, whole µm long, on a grid of them."""
    random = np.random.default_rng(seed)
    pixels = np.zeros((height, width, 3), np.uint8)
    for top in range(0, height - 40, 60):
        for left in range(0, width - 40, 60):
            side = 4 * int(random.integers(3, 10))
            pixels[top + 8 : top + 8 + side, left + 8 : left + 8 + side] = 255
    return pixels


def finer(pixels: np.ndarray, factor: int) -> np.ndarray:
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def in_order(xyxy: np.ndarray) -> np.ndarray:
    return xyxy[np.lexsort(np.round(xyxy.T / 8))]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([2, 3, 4]), st.booleans())
def test_windows_and_boxes_in_microns_do_not_hang_on_the_pixel_size(
    seed: int, factor: int, windows: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if windows:  # so that the scene is looked at through several
            patch.setattr(module, "WINDOW", 64)
            patch.setattr(module, "OVERLAP", 32)
        detector = Detector(KNOWING, Blobs())
        coarse, fine = detector.adapt_to(0.25), detector.adapt_to(0.25 / factor)
        assert coarse is detector and fine.scale == pytest.approx(0.5 / factor)
        for side in ("side", "overlap"):
            lengths = [getattr(coarse, side) * 0.25, getattr(fine, side) * 0.25 / factor]
            assert abs(lengths[0] - lengths[1]) <= 0.25
        pixels = scene(seed)
        (a,) = coarse.detect([pixels])
        (b,) = fine.detect([finer(pixels, factor)])
    assert len(a) == len(b) > 4
    # Within an input pixel, which shows 0.5 µm.
    there = in_order(a.xyxy * 0.25), in_order(b.xyxy * 0.25 / factor)
    np.testing.assert_allclose(there[0], there[1], atol=0.5)


def test_where_a_size_is_not_known_or_cannot_be_true_the_card_s_scale_stays() -> None:
    assert compute_scale(0.5, None, 0.25) == compute_scale(0.5, 0.5, None) == 0.5
    assert compute_scale(0.5, 0.5, 0.125) == 0.25
    assert compute_scale(0.5, 0.5, 250.0) == 0.5  # nm taken for µm
    assert compute_scale(0.5, 0.5, 0.25 * FAR) == 0.5 * FAR
    assert Detector(PLAIN, Blobs()).adapt_to(0.1).scale == 0.5


def test_model_files_of_before_know_no_pixel_size() -> None:
    assert all(read_card(path).input_um is None for path in STARTERS.glob("*.safetensors"))
    fields = json.loads(PLAIN.to_metadata()["cytoloop"])
    del fields["input_um"]
    old = ModelCard.from_metadata({"cytoloop": json.dumps(fields)}, Path("old"))
    assert old == PLAIN
    assert ModelCard.from_metadata(KNOWING.to_metadata(), Path("new")) == KNOWING


def test_training_shows_objects_at_the_size_that_serving_does(tmp_path: Path) -> None:
    pixels = scene(1)
    examples = []
    for factor in (1, 2):
        path = tmp_path / f"{factor}.png"
        path.write_bytes(encode_png(finer(pixels, factor)))
        box = (8 * factor, 8 * factor, 40 * factor, 40 * factor, "Cell")
        examples.append(Example(path, "g", Boxes.from_rows([box]), pixel_size=0.25 / factor))
    views = list(read_training_images(examples, ["Cell"], 0.5, lambda step: None, 0.5))
    assert [view.pixels.shape for view in views] == [(90, 120, 3)] * 2
    np.testing.assert_allclose(views[0].xyxy, views[1].xyxy)
    (unknown,) = read_training_images([examples[1]], ["Cell"], 0.5, lambda step: None)
    assert unknown.pixels.shape == (180, 240, 3)

    assert compute_median_pixel_size(examples) == pytest.approx(0.1875)
    mostly = [Example(tmp_path / "x.png", "g")] * 2
    assert compute_median_pixel_size([*examples, *mostly]) is None
    job = TrainingJob(examples, ("Cell",), ("Cell",), tmp_path / "base", tmp_path)
    again = TrainingJob.from_json(json.loads(json.dumps(job.to_json())))
    assert [example.pixel_size for example in again.examples] == [0.25, 0.125]


def test_a_folder_s_table_or_its_files_say_the_size(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(encode_png(scene(1)))
    tifffile.imwrite(tmp_path / "c.ome.tif", scene(1)[..., 0], metadata={"PhysicalSizeX": 0.125})
    (tmp_path / "image_labels.csv").write_text("image,pixel_size\na.png,0.25\nb.png,wrong\n")
    assert [example.pixel_size for example in read_folder(tmp_path).examples] == [0.25, None, 0.125]


def test_tasks_are_marked_and_judged_by_their_pixel_size(tmp_path: Path) -> None:
    config = (
        '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
        '<Label value="Cell"/></RectangleLabels></View>'
    )
    labels = LabelingConfig.parse(config)
    runtime = Sizes()
    detector = Detector(KNOWING, runtime)
    matching = labels.match_classes(KNOWING.classes)
    preannotator = PreAnnotator("1-v1-x", detector, labels, matching, frozenset({"Cell"}))
    pixels = scene(2)
    content = [
        encode_png(pixels),
        encode_png(finer(pixels, 2)),
        encode_png(pixels),
        encode_png(pixels),
    ]
    sizes = [0.25, "0.125", None, 1e9]

    def fetch(addresses: Sequence[str], deadline: float | None) -> Iterator[tuple[int, bytes]]:
        yield from enumerate(content)

    tasks = [
        {"data": {"image": f"/{n}.png", **({} if size is None else {"pixel_size": size})}}
        for n, size in enumerate(sizes)
    ]
    outcomes = dict(preannotator.preannotate(tasks, fetch))
    drawn = [outcomes[number] for number in range(4)]
    assert all(isinstance(made, PreAnnotation) and len(made.result) > 4 for made in drawn)
    assert runtime.shapes == [(96, 128)] * 4
    places = [sorted(round(item["value"]["x"]) for item in drawing.result) for drawing in drawn]  # type: ignore[union-attr]
    assert places[0] == places[1] == places[2] == places[3]

    runtime.shapes.clear()
    examples = []
    for number, size in enumerate((0.25, 0.125, None)):
        path = tmp_path / f"{number}.png"
        path.write_bytes(content[number])
        examples.append(Example(path, "g", Boxes(), pixel_size=size))
    kept, found, skipped = predict_examples(detector, examples)
    assert [example.image for example in kept] == [
        example.image for example in examples
    ] and not skipped
    assert runtime.shapes == [(96, 128)] * 3
    assert len({len(made.boxes) for made in found}) == 1


class Sizes(Blobs):
    """Remembers the height and width of what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def infer(self, batches: Iterator[np.ndarray]) -> Iterator[np.ndarray]:  # type: ignore[override]
        def seen() -> Iterator[np.ndarray]:
            for batch in batches:
                self.shapes.append(batch.shape[1:3])
                yield batch

        return super().infer(seen())


def finder(source: Path, card: ModelCard = KNOWING, size: float | None = None) -> ScanDetector:
    return ScanDetector(source, Detector(card, Blobs()), SourceOptions(apart=True, pixel_size=size))


def test_a_scan_is_looked_at_by_its_pixel_size(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), finer(scene(3), 2))
    plain, told = finder(path), finder(path, size=0.125)
    assert plain.notes == [] and plain.pixel_size is None
    (note,) = told.notes
    assert note == (
        "0.125 µm a pixel, the version learned from images of 0.25: looked at at 0.5 times its "
        "usual scale"
    )
    found = [len(sheet.objects) for detector in (plain, told) for sheet in detector.detect_scans()]
    assert found[0] == found[1] > 4
    (note,) = finder(path, PLAIN, 0.125).notes
    assert "no influence on the scale" in note
    with pytest.raises(ValueError, match="--pixel-size: 125 µm a pixel cannot be true"):
        finder(path, size=125.0)
    with pytest.raises(ValueError, match="--pixel-size -1"):
        parse_source_options(None, None, "each", None, -1.0)


def test_a_scan_s_own_metadata_say_its_pixel_size(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, scene(3)[..., 0], metadata={"PhysicalSizeX": 0.125})
    (note,) = finder(path).notes
    assert note.startswith("0.125 µm a pixel") and "0.5 times" in note
    assert finder(path, PLAIN).notes == []  # nobody asked
    assert finder(path, size=0.25).pixel_size == 0.25
    odd = tmp_path / "b.ome.tif"
    tifffile.imwrite(odd, scene(3)[..., 0], metadata={"PhysicalSizeX": 125.0})
    (note,) = finder(odd).notes
    assert "by the metadata, cannot be true" in note


def test_an_ome_zarr_says_its_pixel_size(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    from tasks.readers.open import read_pixel_size

    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=scene(1)[..., 0])
    group.attrs["multiscales"] = [
        {
            "axes": [{"name": name, "type": "space", "unit": "nanometer"} for name in ("y", "x")],
            "datasets": [
                {
                    "path": "0",
                    "coordinateTransformations": [{"type": "scale", "scale": [250, 250]}],
                }
            ],
        }
    ]
    assert read_pixel_size(tmp_path / "a.zarr") == pytest.approx(0.25)
