"""Objects found by their outlines: what stands out from a plain ground, without any model."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ml_backend.imaging.crops import MARGIN


@dataclass(frozen=True)
class ContourRule:
    """Which outlines are objects.

    Attributes:
        share: Of its square crop that an object fills at least, 0..1. What fills less is a scratch
            or a hair (Matsumoto et al. 2025 leave out what is under 8 %).
        smallest: Longest side in pixels that an object has at least; less is noise.
        largest: That it has at most; None for any. Nuclei beside a spread are larger than its
            chromosomes.
    """

    share: float = 0.08
    smallest: float = 10.0
    largest: float | None = None


def find_contours(pixels: np.ndarray, rule: ContourRule = ContourRule()) -> np.ndarray:
    """Find objects by their outlines; those that the image's border cuts are left out.

    Ground and objects are told apart by Otsu's threshold on grey values; the ground is the larger
    of the two, whether it is dark or bright. Objects that touch are one.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        rule: Which are objects.

    Returns:
        (N, 4) float32: left, top, right, bottom in pixels, from top to bottom.
    """
    grey = cv2.medianBlur(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), 3)
    _, bright = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    objects = bright if 2 * np.count_nonzero(bright) <= bright.size else 255 - bright
    outlines, _ = cv2.findContours(objects, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    height, width = grey.shape
    found = []
    for outline in outlines:
        x, y, across, down = cv2.boundingRect(outline)
        longest = max(across, down)
        if x == 0 or y == 0 or x + across == width or y + down == height:
            continue
        if longest < rule.smallest or (rule.largest is not None and longest > rule.largest):
            continue
        filled = np.zeros((down, across), np.uint8)
        cv2.drawContours(filled, [outline], -1, 1, cv2.FILLED, offset=(-x, -y))
        if filled.sum() < rule.share * (MARGIN * longest) ** 2:
            continue
        found.append((x, y, x + across, y + down))
    return np.array(sorted(found, key=lambda box: (box[1], box[0])), np.float32).reshape(-1, 4)
