"""Fitting a box to an object by its contrast against what surrounds it, without any model.

The background is the median along the edge of a window around the object; what differs from it by
more than Otsu's threshold (Otsu 1979) and is connected is the object.
"""

from __future__ import annotations

import cv2
import numpy as np

Box = tuple[float, float, float, float]

LEAST_SIDE = 4  # px; what is smaller is noise
RADII = (
    12,
    17,
    24,
    34,
    48,
    68,
    96,
    136,
    192,
    272,
    384,
)  # px of the windows that are tried, in turn
ROOM = 0.85  # of a window's side; an object that is larger may be cut by the window
NOISE = 4.0  # grey values of 256; an object that differs by less from the background is none
LOOKED_AT = 200  # px; windows are looked at at no more than that
NEARLY = 0.8  # of the greatest contrast of a window
MARGIN = 0.15  # of a loose box's side; the background is looked for so far outside it


def fit_at_point(pixels: np.ndarray, x: float, y: float) -> Box | None:
    """Fit a box to the object at a point.

    In windows of growing size, what stands out at the point and has background around it may be
    the object, or a detail of it. The smallest counts that stands out nearly as much as any.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        x: px from the left.
        y: px from the top.

    Returns:
        x1, y1, x2, y2 in px; None where nothing at the point stands out.
    """
    found: list[tuple[float, Box]] = []
    for radius in RADII:
        window, left, top = _cut_window(pixels, (x - radius, y - radius, x + radius, y + radius))
        if min(window.shape[:2]) < LEAST_SIDE:
            return None
        step = max(1.0, max(window.shape[:2]) / LOOKED_AT)  # large windows need no detail
        if step > 1:
            size = tuple(max(1, round(side / step)) for side in window.shape[1::-1])
            window = cv2.resize(window, size, interpolation=cv2.INTER_AREA)
        difference, mask = _find_foreground(window)
        at = int((x - left) / step), int((y - top) / step)
        part = _take_component(mask, *at, reach=max(2, round(radius / 6 / step)))
        if part is None:
            continue
        rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
        corners = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) * step
        x1, y1, x2, y2 = (corners + (left, top, left, top)).tolist()
        window_box = left, top, left + step * window.shape[1], top + step * window.shape[0]
        if _is_whole((x1, y1, x2, y2), window_box, pixels.shape):
            found.append((float(difference[part].mean()), (x1, y1, x2, y2)))
    most = max((contrast for contrast, _ in found), default=0.0)
    return next((box for contrast, box in found if contrast >= NEARLY * most), None)


def fit_in_box(pixels: np.ndarray, box: Box) -> Box:
    """Fit a loosely drawn box to the object in it.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        box: x1, y1, x2, y2 in px, inside the image.

    Returns:
        The fitted box, inside the drawn one; the drawn one where nothing in it stands out.
    """
    dx, dy = MARGIN * (box[2] - box[0]), MARGIN * (box[3] - box[1])
    around = (box[0] - dx, box[1] - dy, box[2] + dx, box[3] + dy)
    window, left, top = _cut_window(pixels, around)
    if min(window.shape[:2]) < LEAST_SIDE:
        return box
    inner = np.zeros(window.shape[:2], bool)
    inner[int(box[1]) - top : round(box[3]) - top, int(box[0]) - left : round(box[2]) - left] = True
    _, mask = _find_foreground(window)
    count, _, stats, _ = cv2.connectedComponentsWithStats((mask & inner).astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA]
    if not count - 1 or areas.max() < LEAST_SIDE**2:
        return box
    # Chromosomes of one cell may lie apart; specks beside it are no part of it.
    kept = 1 + np.flatnonzero(areas >= 0.1 * areas.max())
    x1, y1 = stats[kept, cv2.CC_STAT_LEFT].min(), stats[kept, cv2.CC_STAT_TOP].min()
    x2 = (stats[kept, cv2.CC_STAT_LEFT] + stats[kept, cv2.CC_STAT_WIDTH]).max()
    y2 = (stats[kept, cv2.CC_STAT_TOP] + stats[kept, cv2.CC_STAT_HEIGHT]).max()
    return float(x1 + left), float(y1 + top), float(x2 + left), float(y2 + top)


def _cut_window(pixels: np.ndarray, box: Box) -> tuple[np.ndarray, int, int]:
    """Cut out what of a box lies in the image; with its left and top, px."""
    left, top = max(0, int(box[0])), max(0, int(box[1]))
    return pixels[top : max(top, int(box[3]) + 1), left : max(left, int(box[2]) + 1)], left, top


def _find_foreground(window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find what differs from the background of a window: (H, W) by how much, and whether."""
    grey = cv2.cvtColor(window, cv2.COLOR_RGB2GRAY)
    sigma = max(0.8, min(grey.shape) / 60)
    smooth = cv2.GaussianBlur(grey, (0, 0), sigma).astype(np.float32)
    edge = np.concatenate([smooth[0], smooth[-1], smooth[:, 0], smooth[:, -1]])
    difference = np.abs(smooth - np.median(edge)).clip(0, 255).astype(np.uint8)
    threshold, mask = cv2.threshold(difference, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    if threshold < NOISE:
        return difference, np.zeros(grey.shape, bool)
    size = max(1, min(grey.shape) // 20) | 1
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((size, size), np.uint8))
    return difference, closed > 0


def _take_component(mask: np.ndarray, x: int, y: int, reach: int) -> np.ndarray | None:
    """Take the connected part at a point, or the nearest within reach, px: (H, W) bool."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    at = labels[min(y, labels.shape[0] - 1), min(x, labels.shape[1] - 1)]
    if at == 0:
        rows, columns = np.nonzero(labels)
        if not len(rows):
            return None
        away = np.hypot(rows - y, columns - x)
        nearest = int(away.argmin())
        if away[nearest] > reach:
            return None
        at = labels[rows[nearest], columns[nearest]]
    sides = stats[at, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
    return labels == at if sides.min() >= LEAST_SIDE else None


def _is_whole(box: Box, window: Box, image: tuple[int, ...]) -> bool:
    """Tell whether a box has background around it in a window, or ends at the image's edge."""
    height, width = image[:2]
    for low, high, start, end, length in (
        (box[0], box[2], window[0], window[2], width),
        (box[1], box[3], window[1], window[3], height),
    ):
        if high - low > ROOM * (end - start):
            return False
        if (low <= start and start > 0) or (high >= end and end < length):
            return False
    return True
