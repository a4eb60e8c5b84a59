"""The figures: held to pycocotools, to laws, and to small cases done by hand."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.dataset.example import Example
from ml_backend.evaluation.metrics import DetectionFigures, evaluate
from ml_backend.imaging.boxes import Boxes

CLASSES = ("Mitotic cell", "Other")


def example(rows, *, group="g", ignored=(), image_label=None, name="a.png") -> Example:
    return Example(
        Path(name),
        group,
        None if rows is None else Boxes.from_rows(rows),
        np.array(ignored, np.float32).reshape(-1, 4),
        image_label,
    )


def predicted(rows) -> Boxes:
    return Boxes(
        np.array([row[:4] for row in rows], np.float32),
        np.array([row[4] for row in rows], np.str_),
        np.array([row[5] for row in rows], np.float32),
    )


def judge(truth, predictions, threshold=0.25, headline=("Mitotic cell",)) -> DetectionFigures:
    return evaluate(truth, predictions, threshold=threshold, headline=headline)


def random_case(seed: int, images: int = 12, ignored: bool = True):
    """Truth, and predictions of which many are near to it."""
    random = np.random.default_rng(seed)
    truth, predictions = [], []
    for image in range(images):

        def boxes(count):
            corner = random.integers(0, 300, (count, 2)) / 4
            return np.concatenate([corner, corner + random.integers(20, 160, (count, 2)) / 4], 1)

        true = boxes(random.integers(0, 6))
        near = true.repeat(random.integers(0, 3, len(true)), axis=0)
        near = near + random.integers(-12, 13, near.shape) / 4
        near = near[(near[:, 2:] > near[:, :2]).all(axis=1)]
        drawn = np.concatenate([near, boxes(random.integers(0, 4))])
        confidence = random.permutation(10_000)[: len(drawn)] / 10_000
        truth.append(
            example(
                [(*row, random.choice(CLASSES)) for row in true],
                ignored=boxes(random.integers(0, 3)) if ignored else (),
                group=f"g{image % 10}",
            )
        )
        predictions.append(
            predicted(
                [
                    (*row, random.choice(CLASSES), c)
                    for row, c in zip(drawn, confidence, strict=True)
                ]
            )
        )
    return truth, predictions


def coco_precisions(truth, predictions):
    """AP50 and AP50-95 of each class as pycocotools has them."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations, results = [], []
    for image, (truth_of_image, drawn) in enumerate(zip(truth, predictions, strict=True), 1):
        rows = [(*row[:4], CLASSES.index(row[4]), 0) for row in truth_of_image.boxes.to_rows()]
        rows += [
            (*map(float, region), number, 1)
            for region in truth_of_image.ignored
            for number in range(len(CLASSES))
        ]
        for x1, y1, x2, y2, number, crowd in rows:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": number + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": crowd,
                }
            )
        results += [
            {
                "image_id": image,
                "category_id": CLASSES.index(label) + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": confidence,
            }
            for x1, y1, x2, y2, label, confidence in drawn.to_rows()
        ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": image + 1} for image in range(len(truth))],
            "annotations": annotations,
            "categories": [{"id": n + 1, "name": name} for n, name in enumerate(CLASSES)],
        }
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(results), "bbox")
        judge.params.maxDets = [10_000]
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][:, :, :, 0, 0]  # level, recall, class
    return {
        name: (precision[0, :, n].mean(), precision[:, :, n].mean())
        for n, name in enumerate(CLASSES)
        if (precision[:, :, n] > -1).all()
    }


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("ignored", [False, True])
def test_average_precision_is_that_of_pycocotools(seed: int, ignored: bool) -> None:
    truth, predictions = random_case(seed, ignored=ignored)
    figures = judge(truth, predictions)
    reference = coco_precisions(truth, predictions)
    assert reference
    for name, (ap50, ap50_95) in reference.items():
        assert figures.classes[name].ap50.value == pytest.approx(ap50, abs=1e-6)
        assert figures.classes[name].ap50_95.value == pytest.approx(ap50_95, abs=1e-6)


def test_counts_done_by_hand() -> None:
    truth = [
        example([(0, 0, 10, 10, "Chromosomes"), (50, 50, 60, 60, "Chromosomes")]),
        example([(0, 0, 10, 10, "Others")]),
    ]
    predictions = [
        predicted(
            [
                (0, 0, 10, 9, "Mitotic cell", 0.9),  # found
                (0, 0, 9, 10, "Mitotic cell", 0.8),  # found before: wrong
                (50, 50, 60, 60, "Mitotic cell", 0.2),  # below the threshold
                (50, 50, 60, 60, "Other", 0.9),  # of another class
            ]
        ),
        predicted([(0, 0, 10, 10, "MITOTIC CELL", 0.3)]),  # wrong
    ]
    figures = judge(truth, predictions)
    mitotic = figures.classes["Mitotic cell"]
    assert (mitotic.truths, mitotic.predicted) == (2, 3)
    assert mitotic.precision.value == pytest.approx(1 / 3)
    assert mitotic.recall.value == pytest.approx(1 / 2)
    assert mitotic.f1.value == figures.f1.value == pytest.approx(2 / 5)
    # Precision 1 up to recall 0.5 (51 of 101 recalls), then 2 of 4 boxes right.
    assert mitotic.ap50.value == figures.ap50.value == pytest.approx((51 + 50 * 0.5) / 101)
    assert figures.classes["Other"].recall.value == 0
    assert figures.image_sensitivity.value == 1
    assert figures.image_specificity.value == 0
    assert figures.image_accuracy.value == figures.always_yes.value == 0.5


def test_what_is_undefined_is_none() -> None:
    figures = judge([example([])], [Boxes()])
    mitotic = figures.classes["Mitotic cell"]
    assert mitotic.precision.value is mitotic.recall.value is mitotic.f1.value is None
    assert figures.f1.value is figures.ap50.value is figures.image_sensitivity.value is None
    assert figures.image_specificity.value == figures.image_accuracy.value == 1
    assert figures.always_yes.value == 0
    nothing = judge([], []).to_json()
    assert nothing["images"] == 0 and nothing["image_accuracy"] is None
    # A wrong box where nothing is to find has no recall, but its precision is 0.
    wrong = judge([example([])], [predicted([(0, 0, 9, 9, "Mitotic cell", 0.9)])])
    assert wrong.classes["Mitotic cell"].precision.value == 0
    assert wrong.f1.value is None


def test_unlabelled_images_count_only_where_their_image_label_is_known() -> None:
    drawn = predicted([(0, 0, 9, 9, "Mitotic cell", 0.9)])
    figures = judge([example(None), example(None, image_label=False)], [drawn, drawn])
    assert figures.images == 1
    assert figures.image_specificity.value == 0
    assert figures.classes["Mitotic cell"].precision.value is None


def test_an_ignored_region_makes_the_truth_of_its_image_unknown() -> None:
    region = [(0, 0, 20, 20)]
    drawn = predicted([(0, 0, 9, 9, "Mitotic cell", 0.9)])
    unknown = judge([example([], ignored=region)], [drawn])
    assert unknown.image_accuracy.value is None
    assert unknown.classes["Mitotic cell"].precision.value is None
    assert judge([example([], ignored=region, image_label=True)], [drawn]).image_accuracy.value == 1


def test_headline_figures_are_means_over_headline_classes() -> None:
    truth = [example([(0, 0, 9, 9, "Prophase"), (20, 20, 29, 29, "Anaphase")])]
    drawn = [predicted([(0, 0, 9, 9, "Prophase", 0.9)])]
    figures = judge(truth, drawn, headline=("Prophase", "Metaphase", "Anaphase"))
    assert figures.f1.value == 0.5  # Metaphase, which is not there, is left out
    assert set(figures.classes) == {"Prophase", "Metaphase", "Anaphase"}
    assert figures.classes["Metaphase"].ap50.value is None


def test_json_is_plain_and_complete() -> None:
    result = judge(*random_case(1, images=60)).to_json()
    result = json.loads(json.dumps(result, allow_nan=False))
    for name in ("image_accuracy", "image_sensitivity", "f1", "ap50", "ap50_95", "always_yes"):
        low, high = result[f"{name}_interval"]
        assert low <= result[name] <= high
    for name in ("precision", "recall", "f1", "ap50", "ap50_95"):
        low, high = result["classes"]["Mitotic cell"][f"{name}_interval"]
        assert low <= result["classes"]["Mitotic cell"][name] <= high


def test_few_groups_have_no_interval() -> None:
    truth, predictions = random_case(2, images=40)
    assert judge(truth, predictions).f1.interval is not None
    truth = [replace(image, group=f"g{i % 7}") for i, image in enumerate(truth)]
    figures = judge(truth, predictions)
    assert figures.f1.value is not None and figures.f1.interval is None


def test_as_many_predictions_as_examples() -> None:
    with pytest.raises(ValueError, match="1 examples, 0 predictions"):
        judge([example([])], [])


def values(figures: DetectionFigures) -> dict[str, object]:
    flat = figures.to_json()
    return {name: value for name, value in flat.items() if not name.endswith("_interval")} | {
        name: {k: v for k, v in of_class.items() if not k.endswith("_interval")}
        for name, of_class in flat["classes"].items()
    }


seeds = st.integers(0, 10_000)
laws = settings(max_examples=25, deadline=None)


@laws
@given(seed=seeds)
def test_the_order_of_images_and_boxes_does_not_matter(seed: int) -> None:
    truth, predictions = random_case(seed)
    # Confidences must differ between images too: ties are broken by order.
    predictions = [
        Boxes(b.xyxy, b.label, b.confidence + np.float32(i * 5e-6))
        for i, b in enumerate(predictions)
    ]
    random = np.random.default_rng(seed)
    order = random.permutation(len(truth))
    shuffled = [predictions[i].select(random.permutation(len(predictions[i]))) for i in order]
    first = judge(truth, predictions)
    second = judge([truth[i] for i in order], shuffled)
    for name, of_class in first.classes.items():
        other = second.classes[name]
        for figure in ("precision", "recall", "f1", "ap50", "ap50_95"):
            assert getattr(of_class, figure).value == pytest.approx(getattr(other, figure).value)
    assert first.image_accuracy.value == second.image_accuracy.value


@laws
@given(seed=seeds)
def test_a_perfect_detector_scores_one_in_everything(seed: int) -> None:
    truth, _ = random_case(seed, ignored=False)
    # Where two true boxes overlap a lot, one perfect box might answer for the other.
    figures = judge(truth, [image.boxes for image in truth])
    for of_class in figures.classes.values():
        for figure in (of_class.precision, of_class.recall, of_class.f1, of_class.ap50):
            assert figure.value in (None, pytest.approx(1))
    assert figures.image_accuracy.value == 1
    assert figures.image_sensitivity_at_specificity.value in (None, 1)
    if figures.f1.interval:
        assert figures.f1.interval == (1, 1)


@laws
@given(seed=seeds, image=st.integers(0, 11))
def test_an_added_false_box_lowers_precision_and_never_helps(seed: int, image: int) -> None:
    truth, predictions = random_case(seed)
    rows = [*predictions[image].to_rows(), (500, 500, 520, 520, "Mitotic cell", 0.99)]
    worse = judge(truth, [*predictions[:image], predicted(rows), *predictions[image + 1 :]])
    before = judge(truth, predictions)
    a, b = before.classes["Mitotic cell"], worse.classes["Mitotic cell"]
    if a.precision.value:
        assert b.precision.value < a.precision.value
    assert a.recall.value == b.recall.value
    if a.ap50.value is not None:
        assert b.ap50.value <= a.ap50.value + 1e-12


@laws
@given(seed=seeds, image=st.integers(0, 11))
def test_a_box_in_an_ignored_region_changes_no_box_figure(seed: int, image: int) -> None:
    truth, predictions = random_case(seed)
    before = truth[image]
    truth[image] = replace(before, ignored=np.concatenate([before.ignored, [[500, 500, 600, 600]]]))
    rows = [*predictions[image].to_rows(), (510, 510, 520, 520, "Mitotic cell", 0.99)]
    changed = [*predictions[:image], predicted(rows), *predictions[image + 1 :]]
    before, after = judge(truth, predictions), judge(truth, changed)
    assert before.classes == after.classes


@laws
@given(seed=seeds, low=st.floats(0, 1), high=st.floats(0, 1))
def test_a_higher_threshold_never_finds_more(seed: int, low: float, high: float) -> None:
    truth, predictions = random_case(seed)
    low, high = min(low, high), max(low, high)
    loose, strict = judge(truth, predictions, low), judge(truth, predictions, high)
    for name in loose.classes:
        assert (loose.classes[name].recall.value or 0) >= (strict.classes[name].recall.value or 0)
        assert loose.classes[name].ap50 == strict.classes[name].ap50


def test_a_confidence_equal_to_the_threshold_counts() -> None:
    truth = [example([(0, 0, 9, 9, "Mitotic cell")])]
    for threshold in (0.1, 0.25, 0.3, 0.7):
        drawn = [predicted([(0, 0, 9, 9, "Mitotic cell", threshold)])]
        assert judge(truth, drawn, threshold).f1.value == 1
        assert judge(truth, drawn, threshold).image_accuracy.value == 1


def test_centres_find_what_overlap_does_not() -> None:
    truth = [example([(0, 0, 40, 40, "Mitotic cell"), (100, 100, 140, 140, "Mitotic cell")])]
    small, beside = (15, 15, 25, 25, "Mitotic cell", 0.9), (130, 130, 170, 170, "Mitotic cell", 0.8)
    figures = judge(truth, [predicted([small, beside])])
    assert figures.f1.value == 0
    assert figures.centres.radius == 20  # half of a side of 40
    assert (figures.centres.precision.value, figures.centres.recall.value) == (0.5, 0.5)
    assert judge([example([])], [Boxes()]).centres.radius is None
