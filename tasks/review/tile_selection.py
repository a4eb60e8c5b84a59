"""Which tiles of a classified scan deserve a cytologist's eye; `selection` is about objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ml_backend.label_studio.class_names import is_clutter
from tasks.detection.scan_classifier import ClassifiedScan
from tasks.mosaic.mosaic import Mosaic
from tasks.review.selection import (
    CHANCE,
    EVERY,
    FOUND,
    NEAR,
    NEARLY,
    NO_BOXES,
    RANDOM,
    Send,
    Tile,
    View,
    draw_lot,
    lay_grid,
)

ListChosen = Callable[[Mapping[str, float]], Sequence[str]]
"""From the probability of each class to the classes that are chosen."""


def select_tiles(
    scan: ClassifiedScan,
    send: Send,
    *,
    most: int,
    list_chosen: ListChosen,
    threshold: float,
    key: Callable[[Mosaic, int, Tile], str],
) -> list[View]:
    """Select the tiles of a scan that a person should look at.

    A tile is found when a class is chosen for it that is no clutter ('Other', 'Interphase'),
    nearly found when such a class has NEARLY of the threshold.

    Args:
        scan: What its tiles show.
        send: "found": what was found; "review": what was nearly found too, and a random few of
            the others; "all" or "tiles": everything.
        most: The largest side of a tile, px, as it was classified with.
        list_chosen: Chooses classes.
        threshold: The probability, 0..1, from which a class is chosen where several may be.
        key: Names a picture, see `select_for_review`.

    Returns:
        The pictures from top to bottom of the scan, each plane in turn.
    """
    tiles, _ = lay_grid(scan.mosaic, most)
    chosen: list[View] = []
    for plane, choices in scan.choices.items():
        for tile in tiles:
            if (probabilities := choices.get(tile.rect)) is None:
                continue  # it could not be read
            looked_for = {
                name: value for name, value in probabilities.items() if not is_clutter(name)
            }
            probability, found = 1.0, 0
            if not set(list_chosen(probabilities)).isdisjoint(looked_for):
                reason, found = FOUND, 1
            elif send == "review" and max(looked_for.values(), default=0) >= NEARLY * threshold:
                reason = NEAR
            elif send in ("all", "tiles"):
                reason = EVERY
            elif send == "review" and draw_lot(key(scan.mosaic, plane, tile)):
                reason, probability = CHANCE, RANDOM
            else:
                continue
            chosen.append(
                View(scan.mosaic, plane, tile, NO_BOXES, found, probability, reason, probabilities)
            )
    return sorted(chosen, key=lambda view: (view.tile.rect[1], view.tile.rect[0], view.plane))
