"""A detector finds, a classifier chooses; both are trained, kept and served as one version."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from ml_backend.active_learning.strategies.certainty import measure_certainty
from ml_backend.cli.tables import render_figures
from ml_backend.dataset.example import Example
from ml_backend.imaging.boxes import Boxes
from ml_backend.imaging.decode import decode
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.learners.base import Picture, Prediction
from ml_backend.learners.detector_classifier.inference import DetectorClassifier
from ml_backend.learners.detector_classifier.parts import PART_FILES, PARTS, pack, unpack
from ml_backend.learners.kinds import find_learner, load_detector
from ml_backend.learners.model_file import DETECTOR_CLASSIFIER, FILE_NAME, ModelCard, read_card
from ml_backend.learners.region_classifier.inference import RegionClassifier
from ml_backend.learners.training_job import TrainingJob
from ml_backend.registry.starters import find_starter_weights
from tests.blobs import Blobs
from tests.regions import CLASSES, paint

LEARNER = find_learner(DETECTOR_CLASSIFIER)
OPTIONS = {"choices": list(CLASSES), "several": False}
CARD = ModelCard(
    "yolov5n", ("Cell", "Other"), ("Cell",), 1.0, 0.6, kind=DETECTOR_CLASSIFIER, options=OPTIONS
)
LABELS = LabelingConfig.parse(
    '<View><Image name="i" value="$image"/>'
    '<RectangleLabels name="l" toName="i"><Label value="Cell"/></RectangleLabels>'
    '<Choices name="kind" toName="i" perRegion="true"><Choice value="Disc"/>'
    '<Choice value="Cross"/></Choices></View>'
)


def mark(path: Path, seed: int) -> Example:
    """A field in which all things are cells, of which discs and crosses are chosen."""
    example = paint(path, seed, f"g{seed}")
    assert example.boxes is not None
    names = example.boxes.label
    boxes = replace(example.boxes, label=np.full(len(names), "Cell"))
    return replace(example, boxes=boxes, region_choices=tuple((str(name),) for name in names))


def test_what_is_found_is_drawn_with_its_choice(discs_and_crosses: Path, tmp_path: Path) -> None:
    model = DetectorClassifier(CARD, Blobs(), RegionClassifier.load(discs_and_crosses))
    examples = [mark(tmp_path / f"{seed}.png", seed) for seed in range(300, 304)]
    pictures = [Picture(decode(example.image)) for example in examples]
    found = list(model.predict(pictures, 0.01))
    assert [len(prediction.region_choices) for prediction in found] == [6] * 4
    figures = LEARNER.evaluate(examples, found, CARD).to_json()
    assert figures["f1"] == 1 and figures["f1_with_choice"] >= 0.9
    assert figures["region_choices"]["items"] == 24
    matching = LEARNER.match_labels(CARD, LABELS)
    assert matching is not None
    result = LEARNER.write_result(found[0], CARD, LABELS, matching, frozenset({"Cell"}), "v")
    height, width = pictures[0].pixels.shape[:2]
    regions, problems = LABELS.read_regions(result, width, height)
    assert len(regions) == 6 and not problems
    assert all(region.labels == ("Cell",) and len(region.choices) == 1 for region in regions)


def test_what_nobody_is_shown_is_not_asked_for(discs_and_crosses: Path, tmp_path: Path) -> None:
    """The things are 190 / 255 = 0.745 confident."""
    pixels = decode(paint(tmp_path / "a.png", 1).image)
    for threshold, asked in ((0.7, 6), (0.8, 0)):
        card = replace(CARD, threshold=threshold)
        model = DetectorClassifier(card, Blobs(), RegionClassifier.load(discs_and_crosses))
        (found,) = model.predict([Picture(pixels)], 0.01)
        assert len(found.boxes) == 6 and sum(map(bool, found.region_choices)) == asked
        assert Prediction.from_json(found.to_json()).region_choices == found.region_choices


def test_a_choice_counts_where_its_box_is_found() -> None:
    """Three true cells: found and chosen rightly; found, chosen wrongly; missed. One in vain."""
    rows = [(0, 0, 20, 20, "Cell"), (40, 0, 60, 20, "Cell"), (80, 0, 99, 20, "Cell")]
    truth = Example(Path("a"), "a", Boxes.from_rows(rows), region_choices=(("Disc",),) * 3)
    boxes = Boxes.from_rows([*rows[:2], (0, 60, 20, 80, "Cell")])
    disc, cross = {"Disc": 0.9, "Cross": 0.1}, {"Disc": 0.2, "Cross": 0.8}
    found = Prediction((100, 100), boxes, region_choices=(disc, cross, disc))
    counts = LEARNER.count([truth], [found], CARD)
    assert counts.classes == ("Cell", "box with its choice")
    assert counts.right.tolist() == [[2, 1]]
    assert counts.wrong.tolist() == [[1, 2]]
    assert counts.missed.tolist() == [[1, 2]]
    figures = LEARNER.evaluate([truth], [found], CARD)
    assert figures.f1.value == pytest.approx(2 / 3)
    assert figures.to_json()["f1_with_choice"] == pytest.approx(1 / 3)
    assert figures.to_json()["region_choices"]["accuracy"] == 0.5
    whole = {"model": "m", "headline": ["Cell"], "trained_on": 0, "skipped": []}
    console = Console(width=120)
    with console.capture() as capture:
        console.print(render_figures({**whole, **figures.to_json()}))
    assert "F1 of boxes with their choice" in capture.get()
    assert "choices of 2 boxes that were found" in capture.get()


def test_a_champion_that_chooses_nothing_is_judged_beside_one_that_does() -> None:
    """The detector that a project started with: right boxes, none with its choice."""
    rows = [(0, 0, 20, 20, "Cell"), (40, 0, 60, 20, "Cell")]
    truth = Example(Path("a"), "a", Boxes.from_rows(rows), region_choices=(("Disc",), ("Cross",)))
    detector = ModelCard("yolov5n", ("Cell",), ("Cell",), 1.0, 0.6)
    found = Prediction((100, 100), Boxes.from_rows(rows))
    figures = LEARNER.evaluate([truth], [found], detector).to_json()
    assert (figures["f1"], figures["f1_with_choice"]) == (1, 0)
    assert figures["region_choices"]["accuracy"] == 0
    counts = LEARNER.count([truth], [found], detector)
    assert counts.missed.tolist() == [[0, 2]] and counts.wrong.tolist() == [[0, 0]]


def test_a_doubtful_choice_brings_its_task_forward() -> None:
    """Three sure boxes each; of one task a choice is doubtful, of one nothing was asked."""
    rows = Boxes.from_rows([(x, 0, x + 20, 20, "Cell") for x in (0, 30, 60)])
    boxes = replace(rows, confidence=np.full(3, 0.99, np.float32))
    sure, doubtful = {"Disc": 0.99, "Cross": 0.01}, {"Disc": 0.55, "Cross": 0.45}
    scores = [
        measure_certainty(
            LEARNER.list_answers(Prediction((90, 20), boxes, region_choices=choices), CARD),
            CARD.threshold,
        )
        for choices in ((sure, doubtful, sure), (sure, sure, sure), ())
    ]
    assert scores == sorted(scores) and scores[0] < 0.7 < 0.99 < scores[1]


def test_two_models_are_one_file_and_come_out_as_they_went_in(
    discs_and_crosses: Path, tmp_path: Path
) -> None:
    for part, weights in zip(
        PARTS, (find_starter_weights("starter:mitosis"), discs_and_crosses / FILE_NAME), strict=True
    ):
        (tmp_path / part).mkdir()
        shutil.copy(weights, tmp_path / part / FILE_NAME)
    whole = pack(tmp_path)
    card = read_card(whole)
    assert card.kind == DETECTOR_CLASSIFIER and card.options["choices"] == list(CLASSES)
    assert card.headline == ("Mitotic cell",)
    unpack(whole, tmp_path / "again")
    from safetensors.numpy import load_file

    for part in PARTS:
        before, after = (folder / part / FILE_NAME for folder in (tmp_path, tmp_path / "again"))
        assert read_card(after) == read_card(before)
        ours, theirs = load_file(str(before)), load_file(str(after))
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    with pytest.raises(ValueError, match="does not hold a whole detector"):
        unpack(discs_and_crosses / FILE_NAME, tmp_path / "no")


def test_both_are_trained_and_the_weights_alone_make_the_same_version(tmp_path: Path) -> None:
    examples = [mark(tmp_path / f"{seed}.png", seed) for seed in range(3)]
    job = TrainingJob(
        examples, ("Cell",), ("Cell",), find_starter_weights("starter:mitosis"), tmp_path / "out",
        kind=DETECTOR_CLASSIFIER, epochs=1, imgsz=96,
    )  # fmt: skip
    path = LEARNER.train(job, lambda step: None)
    made = tmp_path / "made"
    made.mkdir()
    LEARNER.make_servable(path, made)
    shutil.copy(path, made / FILE_NAME)
    assert all((folder / name).exists() for folder in (job.out, made) for name in PART_FILES)
    pictures = [Picture(decode(examples[0].image))]
    (ours,), (again,) = (LEARNER.load(folder).predict(pictures, 0.0) for folder in (job.out, made))
    np.testing.assert_allclose(ours.boxes.xyxy, again.boxes.xyxy, atol=0.05)
    assert load_detector(made).card.kind == DETECTOR_CLASSIFIER  # a scan takes it too
    # The next training may start from it; without any choice it is a detector alone.
    plain = [replace(example, region_choices=()) for example in examples]
    bare = LEARNER.train(
        replace(job, base=path, examples=plain, out=tmp_path / "bare"), lambda step: None
    )
    assert read_card(bare).kind == "detector"


def test_serving_loads_no_torch() -> None:
    code = (
        "import sys, ml_backend.learners.detector_classifier.learner\n"
        "print(sorted({'torch', 'ultralytics'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
