"""Counting frames: wherever a cell lies, and however tiles overlap, it counts once."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ml_backend.counting.reviewed import count_classes
from ml_backend.label_studio.labeling_config import parse_labels
from tasks.readers.planes import Rect
from tasks.review.counting_frames import lay_counting_frames
from tasks.review.selection import Tile

LABELS = parse_labels(
    '<View><Image name="i" value="$image"/><RectangleLabels name="l" toName="i">'
    '<Label value="Cell"/></RectangleLabels></View>'
)
SIDE, ROWS, COLUMNS = 100, 3, 4


def make_tiles(step: int, jitter: int = 0) -> list[Tile]:
    return [
        Tile(row, column, (x, y, x + SIDE, y + SIDE))
        for row in range(ROWS)
        for column in range(COLUMNS)
        for x in [column * step + jitter * (row % 2)]
        for y in [row * step]
    ]


def count(tile: Rect, frame, box: tuple[float, float, float, float]) -> int:
    """How often a person who boxes what the tile shows of a cell counts it there."""
    x1, y1 = (max(box[i] - tile[i], 0) for i in (0, 1))
    x2, y2 = (min(box[i + 2] - tile[i], SIDE) for i in (0, 1))
    if x2 - x1 < 1 or y2 - y1 < 1:
        return 0
    value = {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1, "rectanglelabels": ["Cell"]}
    region = {
        "id": "a",
        "type": "rectanglelabels",
        "from_name": "l",
        "original_width": SIDE,
        "original_height": SIDE,
        "value": value,
    }
    annotation = {"id": 1, "completed_by": 1, "result": [region]}
    task = {"id": 1, "data": {"frame": list(frame)}, "annotations": [annotation]}
    return int(count_classes([task], LABELS, "newest")[1].sum())


cells = st.tuples(
    st.integers(2, COLUMNS * 80 - 45),
    st.integers(2, ROWS * 80 - 45),
    st.integers(3, 18),
    st.integers(3, 18),
)


@given(st.sampled_from([80, 90, 95, 100]), cells)
def test_a_cell_counts_on_one_tile(step, cell) -> None:
    x, y, width, height = cell
    # Not so near to a seam that the pixels of it decide.
    x2, y2 = x + width + 0.5, y + height + 0.5
    assume(step < SIDE or all(1.5 < end % SIDE < SIDE - 2 for end in (x2, y2)))
    frames = lay_counting_frames(make_tiles(step))
    assert sum(count(rect, frame, (x, y, x2, y2)) for rect, frame in frames.items()) == 1


def test_frames_meet_in_the_middle_of_what_tiles_share() -> None:
    frames = lay_counting_frames(make_tiles(90))
    assert frames[0, 0, 100, 100] == (0, 0, 95, 95)
    assert frames[90, 90, 190, 190] == (5, 5, 95, 95)
    assert frames[270, 180, 370, 280] == (5, 5, 100, 100)


@pytest.mark.parametrize("jitter", [-3, 4])
def test_tiles_need_not_lie_in_straight_columns(jitter) -> None:
    frames = lay_counting_frames(make_tiles(90, jitter))
    assert frames[90, 0, 190, 100] == (5, 0, 95, 95)


def test_touching_tiles_leave_out_what_the_seam_cuts() -> None:
    frames = lay_counting_frames(make_tiles(100))
    assert frames[0, 0, 100, 100] == (0, 0, 99, 99)
    assert frames[300, 200, 400, 300] == (0, 0, 100, 100)
    alone = Tile(0, 0, (0, 0, 50, 60))
    assert lay_counting_frames([alone]) == {alone.rect: (0, 0, 50, 60)}
