"""A version's picture, also where its figures are undefined."""

from pathlib import Path

import cv2
import pytest

from ml_backend.evaluation import plots
from ml_backend.evaluation.metrics import evaluate
from tests.unit.ml_backend.evaluation.test_summary_tables import CASES

NOTHING = evaluate([], [], threshold=0.3, headline=("Mitotic cell",))


@pytest.mark.parametrize("figures", [CASES, NOTHING])
def test_a_picture_is_drawn(figures, tmp_path: Path) -> None:
    plain = figures.to_json()
    plots.draw(tmp_path / plots.FILE_NAME, "1-v2-b", plain, "1-v1-a", plain)
    (path,) = tmp_path.iterdir()
    height, width = cv2.imread(str(path)).shape[:2]
    assert (width, height) == (1210, 935)
