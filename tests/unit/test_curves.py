"""A version's picture, also where its figures are undefined."""

from pathlib import Path

import cv2
import pytest

from ml_backend import curves
from ml_backend.evaluation import evaluate
from tests.unit.test_rosters import CASES

NOTHING = evaluate([], [], threshold=0.3, headline=("Mitotic cell",))


@pytest.mark.parametrize("figures", [CASES, NOTHING])
def test_a_picture_is_drawn(figures, tmp_path: Path) -> None:
    plain = figures.to_json()
    curves.draw(tmp_path / curves.FILE_NAME, "1-v2-b", plain, "1-v1-a", plain)
    (path,) = tmp_path.iterdir()
    height, width = cv2.imread(str(path)).shape[:2]
    assert (width, height) == (1210, 935)
