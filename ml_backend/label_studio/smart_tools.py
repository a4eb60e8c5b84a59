"""What an annotator just drew with a smart tool, and asks to be made a fitted box.

Label Studio sends it in the `context` of /predict, as an annotation's `result`: a keypoint, or a
rectangle, in percent of the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ml_backend.label_studio.labeling_config import list_items
from ml_backend.system.numbers import parse_number

# Keypoints and rectangles, alone or with their labels in the same tag.
_POINTS = ("keypoint", "keypointlabels")
_RECTANGLES = ("rectangle", "rectanglelabels")


@dataclass(frozen=True)
class Prompt:
    """A click or a loose box on an object.

    Attributes:
        id: Of the region that was drawn.
        box: x1, y1, x2, y2 in px of the image; a click has no width and no height.
        labels: What the annotator calls it.
    """

    id: str
    box: tuple[float, float, float, float]
    labels: tuple[str, ...]

    @property
    def is_click(self) -> bool:
        """Whether it is a point."""
        return self.box[0] == self.box[2] and self.box[1] == self.box[3]


def read_prompt(context: Any, size: tuple[int, int]) -> Prompt | None:
    """Read what was drawn last.

    Args:
        context: Of a request to /predict; anything.
        size: Width and height of the image, px.

    Returns:
        None where nothing was drawn that a box could be fitted to: no context, another shape, a
        click that says 'not this' (`is_positive` false), a number that is none.
    """
    items = list_items(context.get("result")) if isinstance(context, dict) else []
    shapes = [item for item in items if item.get("type") in (*_POINTS, *_RECTANGLES)]
    if not shapes or shapes[-1].get("is_positive") is False:
        return None
    drawn = shapes[-1]
    labels: list[str] = []
    box = None
    for item in items:  # the label of a plain shape is an item of its own, with the same id
        value = item.get("value")
        if item is not drawn and item.get("id") != drawn.get("id") or not isinstance(value, dict):
            continue
        named = value.get(str(item.get("type")))
        labels += [str(name) for name in named] if isinstance(named, list) else []
        if item is drawn:
            box = _read_box(value, size, is_point=drawn["type"] in _POINTS)
    return Prompt(str(drawn.get("id")), box, tuple(dict.fromkeys(labels))) if box else None


def _read_box(
    value: dict[str, Any], size: tuple[int, int], *, is_point: bool
) -> tuple[float, float, float, float] | None:
    x, y = parse_number(value.get("x"), 0, 100), parse_number(value.get("y"), 0, 100)
    width, height = (
        0.0 if is_point else parse_number(value.get(key), 0, 100) for key in ("width", "height")
    )
    if x is None or y is None or width is None or height is None:
        return None
    across, down = size[0] / 100, size[1] / 100
    right, bottom = min(x + width, 100), min(y + height, 100)
    return x * across, y * down, right * across, bottom * down
