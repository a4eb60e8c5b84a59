"""Images that are clicked on again are not decoded again, and memory stays bounded."""

from __future__ import annotations

import numpy as np

from ml_backend.serving.decoded_images import DecodedImages


def test_the_images_used_last_are_kept_within_the_bytes() -> None:
    kept = DecodedImages(size=3 * 300)
    images = [np.full((10, 10, 3), number, np.uint8) for number in range(4)]
    for number, pixels in enumerate(images[:3]):
        kept.keep((1, str(number)), pixels)
    assert kept.find((1, "0")) is images[0] and kept.find((2, "0")) is None
    kept.keep((1, "3"), images[3])
    assert sum(kept.find((1, str(number))) is not None for number in range(4)) == 3
    kept.keep((1, "large"), np.zeros((20, 20, 3), np.uint8))
    assert kept.find((1, "large")) is None and kept.find((1, "3")) is images[3]
