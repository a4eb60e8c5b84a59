"""Non-maximum suppression against torchvision's."""

from __future__ import annotations

import numpy as np
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.imaging.boxes import compute_iou
from ml_backend.imaging.nms import suppress_overlaps

boxes_strategy = st.integers(0, 80).flatmap(
    lambda n: st.tuples(
        st.lists(
            st.tuples(*[st.floats(0, 50, width=32)] * 2, *[st.floats(1, 30, width=32)] * 2),
            min_size=n,
            max_size=n,
        ),
        st.lists(st.integers(0, 2), min_size=n, max_size=n),
        st.permutations(range(n)),
    )
)


@settings(max_examples=100, deadline=None)
@given(boxes_strategy)
def test_suppression_is_torchvisions(drawn: tuple[list, list, list]) -> None:
    xywh = np.array(drawn[0], np.float32).reshape(-1, 4)
    xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    label = np.array(drawn[1], np.int64)
    confidence = (np.array(drawn[2], np.float32) + 1) / 100  # no two alike
    kept = suppress_overlaps(xyxy, label, confidence, 0.6)
    expected = torchvision.ops.batched_nms(
        *map(torch.from_numpy, (xyxy, confidence, label)), 0.6
    ).numpy()
    overlaps = compute_iou(xyxy, xyxy)
    if (np.abs(overlaps - 0.6) > 1e-5).all():  # else rounding decides
        np.testing.assert_array_equal(kept, expected)
