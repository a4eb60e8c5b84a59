"""Boxes as Label Studio's own screen writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def make_rectangles(
    corners: Iterable[Sequence[float]], size: tuple[int, int], label: str = "Mitotic cell"
) -> list[dict[str, Any]]:
    """The `result` of an annotation: a rectangle for each (x1, y1, x2, y2), in pixels.

    size: width and height of the image.
    """
    width, height = size
    return [
        {
            "id": f"user{number}",
            "type": "rectanglelabels",
            "from_name": "label",
            "to_name": "image",
            "original_width": width,
            "original_height": height,
            "value": {
                "x": 100 * x1 / width,
                "y": 100 * y1 / height,
                "width": 100 * (x2 - x1) / width,
                "height": 100 * (y2 - y1) / height,
                "rotation": 0,
                "rectanglelabels": [label],
            },
        }
        for number, (x1, y1, x2, y2) in enumerate(corners)
    ]
