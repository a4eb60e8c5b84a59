"""A version's picture: its artists carry the figures given, also where these are undefined."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from ml_backend.evaluation import plots
from ml_backend.evaluation.classification import evaluate_choices
from ml_backend.evaluation.metrics import evaluate
from tests.unit.ml_backend.evaluation.test_summary_tables import CASES

NOTHING = evaluate([], [], threshold=0.3, headline=("Mitotic cell",))
PLAIN = CASES.to_json()
# The champion's figures, which must be told apart from the version's.
BEFORE = {
    **PLAIN,
    "precision_recall": [{"recall": 0.0, "precision": 0.5}, {"recall": 1.0, "precision": 0.25}],
    "froc": [
        {"false_an_image": 1.0, "sensitivity": 0.25, "sensitivity_interval": [0.125, 0.375]},
        {"false_an_image": 2.0, "sensitivity": 0.5, "sensitivity_interval": [0.25, 0.75]},
        {"false_an_image": 4.0, "sensitivity": None, "sensitivity_interval": None},
    ],
}


@pytest.mark.parametrize("figures", [CASES, NOTHING])
def test_a_picture_is_written(figures, tmp_path: Path) -> None:
    plain = figures.to_json()
    plots.plot_figures(tmp_path / plots.FILE_NAME, "1-v2-b", plain, "1-v1-a", plain)
    (path,) = tmp_path.iterdir()
    height, width = cv2.imread(str(path)).shape[:2]
    assert (width, height) == (1210, 935)


def test_the_curves_are_those_of_the_version_and_the_champion() -> None:
    canvas = plots.make_canvas("1-v2-b", PLAIN, "1-v1-a", BEFORE)
    precision_recall, froc, _, _ = canvas.axes
    for axes, curve, x, y in (
        (precision_recall, "precision_recall", "recall", "precision"),
        (froc, "froc", "false_an_image", "sensitivity"),
    ):
        assert len(axes.lines) == 2
        for line, figures, colour in zip(
            axes.lines,
            (PLAIN, BEFORE),
            (plots.VERSION_COLOUR, plots.CHAMPION_COLOUR),
            strict=True,
        ):
            defined = [point for point in figures[curve] if point[y] is not None]
            assert defined
            assert list(line.get_xdata()) == [point[x] for point in defined]
            assert list(line.get_ydata()) == [point[y] for point in defined]
            assert line.get_color() == colour
    names = [text.get_text() for text in precision_recall.get_legend().get_texts()]
    assert [name.split(",")[0] for name in names] == ["1-v2-b", "1-v1-a"]


def test_the_shade_is_the_interval() -> None:
    axes = plots.make_canvas("1-v2-b", BEFORE).axes[1]
    (shade,) = axes.collections
    corners = {tuple(corner) for corner in shade.get_paths()[0].vertices.tolist()}
    assert corners == {(1.0, 0.125), (1.0, 0.375), (2.0, 0.25), (2.0, 0.75)}


def test_the_points_of_the_calibration_are_its_bins() -> None:
    axes = plots.make_canvas("1-v2-b", PLAIN).axes[2]
    (points,) = axes.collections
    bins = PLAIN["calibration"]["bins"]
    assert bins
    assert points.get_offsets().tolist() == [[b["confidence"], b["right"]] for b in bins]
    # The size of a point grows with the boxes in it.
    order = np.argsort([b["boxes"] for b in bins], kind="stable")
    assert (np.diff(points.get_sizes()[order]) >= 0).all()


def test_the_cells_of_the_confusion_matrix_are_counts_and_shares_of_their_row() -> None:
    axes = plots.make_canvas("1-v2-b", PLAIN).axes[3]
    counts = PLAIN["confusion"]
    rows, columns = list(counts), list(next(iter(counts.values())))
    written = {text.get_position(): int(text.get_text()) for text in axes.texts}
    # The cell of background against missed has no meaning and stays empty.
    assert written == {
        (x, y): counts[row][column]
        for y, row in enumerate(rows)
        for x, column in enumerate(columns)
        if (row, column) != ("background", "missed")
    }
    assert sum(written.values()) > 0
    (image,) = axes.images
    table = np.array([[counts[row][column] for column in columns] for row in rows])
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    assert np.allclose(image.get_array(), shares)
    assert [label.get_text() for label in axes.get_xticklabels()] == columns
    assert [label.get_text() for label in axes.get_yticklabels()] == rows


def test_a_classifier_has_calibration_and_confusion_matrix_only() -> None:
    figures = evaluate_choices(
        [("round",), ("thin",)],
        [{"round": 0.9, "thin": 0.1}, {"round": 0.6, "thin": 0.4}],
        ["a", "b"],
        classes=("round", "thin"),
    )
    plain = figures.to_json()
    canvas = plots.make_canvas("1-v2-b", plain)
    calibration, confusion = canvas.axes
    # Boxes with choices have both beside the panels of the boxes.
    boxed = {**PLAIN, "region_choices": plain}
    (*_, below) = plots.make_canvas("1-v3-c", boxed, "1-v2-b", PLAIN).axes
    assert [int(text.get_text()) for text in below.texts] == [1, 0, 1, 0]
    assert calibration.get_xlabel() == "confidence" and confusion.get_xlabel() == "predicted"
    assert [int(text.get_text()) for text in confusion.texts] == [1, 0, 1, 0]
