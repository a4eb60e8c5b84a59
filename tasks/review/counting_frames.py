"""Where on a tile a cell counts, so that of neighbouring tiles just one counts it. Pure geometry.

A cell counts on the tile whose frame holds the lower right corner of its box: the associated point
rule of stereology (Miles 1978, The sampling, by quadrats, of planar aggregates). Where tiles
overlap, their frames meet in the middle of what they share. Where they only touch, a cell that is
cut by the seam reaches the edge of the left or upper tile, outside of that tile's frame.
"""

from __future__ import annotations

from collections.abc import Sequence

from tasks.mosaic.rect_index import RectIndex
from tasks.readers.planes import Rect
from tasks.review.selection import Tile

# Left, top, right and bottom, px of the tile.
CountingFrame = tuple[float, float, float, float]

CUT = 1.0  # px; a box that ends so near to an edge that a neighbour touches is cut there


def lay_counting_frames(tiles: Sequence[Tile]) -> dict[Rect, CountingFrame]:
    """Lay a frame in each tile of a scan.

    Args:
        tiles: All tiles of the scan.

    Returns:
        The frame of each tile, by its rect.
    """
    index = RectIndex([tile.rect for tile in tiles])
    frames = {}
    for tile in tiles:
        left, top, right, bottom = tile.rect
        near = index.find_overlapping((left - 1, top - 1, right + 1, bottom + 1))
        others = [tiles[number].rect for number in near if tiles[number].rect != tile.rect]
        across = [
            _share(tile.rect, other, 0) for other in others if _is_beside(tile.rect, other, 1)
        ]
        down = [_share(tile.rect, other, 1) for other in others if _is_beside(tile.rect, other, 0)]
        x = _find_limits(across, right - left)
        y = _find_limits(down, bottom - top)
        frames[tile.rect] = x[0], y[0], x[1], y[1]
    return frames


def _share(tile: Rect, other: Rect, axis: int) -> tuple[int, float]:
    """On which side of a tile another one lies, -1, 0 or 1, and what they share, px."""
    shared = min(tile[axis + 2], other[axis + 2]) - max(tile[axis], other[axis])
    return (other[axis] > tile[axis]) - (other[axis] < tile[axis]), max(0.0, shared)


def _is_beside(tile: Rect, other: Rect, axis: int) -> bool:
    """Tell whether two tiles lie beside each other: along an axis they share more than half."""
    _, shared = _share(tile, other, axis)
    return shared > min(tile[axis + 2] - tile[axis], other[axis + 2] - other[axis]) / 2


def _find_limits(shares: Sequence[tuple[int, float]], side: float) -> tuple[float, float]:
    low = max((shared / 2 for where, shared in shares if where < 0), default=0.0)
    high = min((side - max(shared / 2, CUT) for where, shared in shares if where > 0), default=side)
    return low, high
