"""Images with boxes at random, to be exported and imported again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import strategies as st

from ml_backend.dataset.annotation_formats.records import Detected, Detection
from ml_backend.label_studio.labeling_config import LabelingConfig
from tasks.exchange.dataset_folders import Labelled, write_folder
from tasks.exchange.detection_files import open_writer

LABELS = LabelingConfig.parse(
    '<View><Image name="i" value="$image"/><RectangleLabels name="l" toName="i">'
    '<Label value="Mitotic cell"/><Label value="Zelle, &quot;groß&quot;"/></RectangleLabels></View>'
)
FILES = (".coco.json", ".createml.json", ".geojson")
# Names that one file system or another does not tell apart; the last is shown as PNG.
SIZES = {"Os/1.png": (60, 40), "Ta/1.png": (90, 70), "TA/1.png": (30, 50), "scan 4.tif": (64, 64)}

Row = tuple[float, float, float, float, str]


@st.composite
def rows(draw: st.DrawFn, size: tuple[int, int]) -> Row:
    def side(length: int) -> tuple[float, float]:
        start = draw(st.integers(0, 100 * length - 100))
        return start / 100, draw(st.integers(start + 100, 100 * length)) / 100

    (x1, x2), (y1, y2) = side(size[0]), side(size[1])
    return x1, y1, x2, y2, draw(st.sampled_from(LABELS.values))


# Every image, some with nothing on them.
marked = st.fixed_dictionaries({name: st.lists(rows(SIZES[name]), max_size=3) for name in SIZES})


def make_labelled(name: str, boxes: list[Row], media: Path) -> Labelled:
    """Make the task of an image; the second is held out."""
    detections = [Detection(*row, 1.0, 0, False) for row in boxes]
    number = list(SIZES).index(name)
    detected = Detected(name, *SIZES[name], detections, by_hand=True)
    return Labelled(
        number, detected, media / f"{number}.png", "holdout" if number == 1 else "train"
    )


def write(out: Path, form: str, truth: dict[str, list[Row]], media: Path) -> Path:
    """Export the images with their boxes into a folder."""
    if form in FILES:
        with open_writer(out / f"out{form}") as add:
            for name, boxes in truth.items():
                add(make_labelled(name, boxes, media).detected)
    else:
        with write_folder(out / form, form, LABELS.values) as put:
            for name, boxes in truth.items():
                put(make_labelled(name, boxes, media))
    return out


def are_close(a: list[Row], b: list[Row]) -> bool:
    """Tell whether two lists of boxes are the same, as far as they are written."""
    return len(a) == len(b) and all(
        left[4] == right[4] and left[:4] == pytest.approx(right[:4], abs=0.011)
        for left, right in zip(a, b, strict=True)
    )
