"""Does a base find already what it is to learn? Then little has to change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ml_backend.evaluation.matching import match_boxes
from ml_backend.label_studio.class_names import canonicalize
from ml_backend.learners.detector.augmentation import TrainingImage
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.detector.torch_runtime import TorchRuntime
from ml_backend.learners.model_file import read_card


def measure_base_f1(
    base: Path,
    views: Sequence[TrainingImage],
    classes: Sequence[str],
    headline: Sequence[str],
    device: str,
) -> float:
    """F1 (0..1, IoU 0.5) of the headline classes together, of a version's weights on views.

    classes: what the views' labels number. 0 where there is nothing to find.
    """
    card = read_card(base)
    wanted = {canonicalize(name) for name in headline}
    # Views are at the network's scale already.
    detector = Detector(replace(card, scale=1.0), TorchRuntime(base, device))
    numbers = [i for i, name in enumerate(classes) if canonicalize(name) in wanted]
    hits = marks = truths = 0
    drawn = detector.detect(view.pixels for view in views)
    for view, boxes in zip(views, drawn, strict=True):
        named = [canonicalize(str(name)) in wanted for name in boxes.label]
        found = boxes.where(np.array(named, bool)).xyxy
        truth = view.xyxy[np.isin(view.label, numbers)]
        hit, ignored = match_boxes(found, truth, view.ignored)
        hits += int(hit[0].sum())
        marks += int((~ignored[0]).sum())
        truths += len(truth)
    return 2 * hits / (marks + truths) if truths else 0.0
