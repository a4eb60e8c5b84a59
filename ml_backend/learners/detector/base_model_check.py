"""How well a base model finds already what it is to learn: if well, little has to change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ml_backend.evaluation.matching import match_boxes
from ml_backend.label_studio.class_names import canonicalize
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.detector.torch_runtime import TorchRuntime
from ml_backend.learners.detector.training_data.augmentation import TrainingImage
from ml_backend.learners.model_file import read_card


def measure_base_f1(
    base: Path,
    images: Sequence[TrainingImage],
    classes: Sequence[str],
    headline: Sequence[str],
    device: str,
) -> float:
    """Measure the F1 of a version's weights on training images, headline classes taken together.

    Args:
        base: The weights, .safetensors.
        images: At the network's scale.
        classes: The names behind the labels of the images.
        headline: The classes to find.
        device: Of torch.

    Returns:
        F1 in 0..1 at IoU 0.5; 0 where there is nothing to find.
    """
    card = read_card(base)
    wanted = {canonicalize(name) for name in headline}
    # The images are at the network's scale already.
    detector = Detector(replace(card, scale=1.0), TorchRuntime(base, device))
    numbers = [i for i, name in enumerate(classes) if canonicalize(name) in wanted]
    hits = counted = truths = 0
    detections = detector.detect(image.pixels for image in images)
    for image, boxes in zip(images, detections, strict=True):
        is_wanted = [canonicalize(str(name)) in wanted for name in boxes.label]
        found = boxes.select(np.array(is_wanted, bool)).xyxy
        truth = image.xyxy[np.isin(image.label, numbers)]
        hit, ignored = match_boxes(found, truth, image.ignored)
        hits += int(hit[0].sum())
        counted += int((~ignored[0]).sum())
        truths += len(truth)
    return 2 * hits / (counted + truths) if truths else 0.0
