"""Numbers of tasks, annotations and settings that are none."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from ml_backend.imaging.pixel_size import read_task_pixel_size
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.system.numbers import parse_number, parse_size, parse_whole_number
from tests.hostile.hostile import Hostile, give, show, tabulate

NUMBERS = (
    *(10**400, -(10**400), "1" * 400, "1e400", float("nan"), float("inf"), -float("inf")),
    *(-1, 0, "", [], {}, True, "x", None),
)

LABELS = LabelingConfig.parse(
    '<View><Image name="i" value="$image"/><RectangleLabels name="l" toName="i">'
    '<Label value="a"/></RectangleLabels></View>'
)
SHAPE = {"x": 1, "y": 1, "width": 5, "height": 5, "rotation": 0}


def list_numbers() -> Iterator[Hostile]:
    """List numbers that no calculation survives, wherever one is read."""
    for number in NUMBERS:
        given = {"pixel_size": number}
        yield Hostile(f"pixel_size {show(number)}", give(given), read_task_pixel_size, "None")
    for key, number in product(("x", "y", "width", "height"), NUMBERS):
        refusal = "no readable place|no area|beyond|read"
        value = SHAPE | {key: number}
        yield Hostile(f"{key} {show(number)}", give(value), read_shape, refusal)
    for number in NUMBERS[:7]:
        value = SHAPE | {"rotation": number}
        yield Hostile(f"rotation {show(number)}", give(value), read_shape, "no readable place|read")
    texts = (
        *("1" * 65, "0x10", "1__0", "--1", "1,5", "1e", "e1", "1.2.3", "one", "½", "∞", "nan"),
        *("1" + "0" * 63, "-inf", "infinity", "1 000", "0b1", "1d5", "\0", "1\0", "💥"),
    )
    yield from tabulate(texts, parse_number, "^None$", "a number of text")
    yield from tabulate(
        (0.5, -1, 1e13, "2.5", "-3", 10**400, float("nan"), "1e-1"),
        parse_whole_number,
        "^None$",
        "a whole number",
    )
    sides = (
        (0, 5),
        (5, 0),
        (-1, 5),
        (10**8, 5),
        (5, 10**8),
        (float("nan"), 5),
        ("x", 5),
        (5, None),
    )
    yield from tabulate(sides, lambda given: parse_size(*given), "^None$", "a size")


def read_shape(value: dict[str, Any]) -> list[str]:
    """Read a region of these numbers: its problems, or where in the image it lies."""
    item = {
        "type": "rectanglelabels",
        "from_name": "l",
        "value": {"rectanglelabels": ["a"], **value},
    }
    regions, problems = LABELS.read_regions([item], 100, 100)
    inside = all(
        0 <= region.xyxy[0] < region.xyxy[2] <= 100 and 0 <= region.xyxy[1] < region.xyxy[3] <= 100
        for region in regions
    )
    return problems or (["read"] if inside else ["OUTSIDE"])
