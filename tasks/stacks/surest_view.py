"""Of several answers about one cell, the surest counts: the one of the lowest entropy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def measure_entropy(probabilities: Mapping[str, float]) -> float:
    """Measure Shannon's entropy in bits, -Σ p · log₂ p, of probabilities that sum to 1.

    Returns:
        0 where one class is certain; log₂ n where all n are alike.
    """
    total = sum(probabilities.values())
    shares = [value / total for value in probabilities.values()] if total > 0 else []
    # A tiny value may have a share of 0, which adds nothing.
    return max(0.0, -sum(share * math.log2(share) for share in shares if share > 0))


def choose_surest(answers: Sequence[Mapping[str, float]]) -> int:
    """Choose the answer of the lowest entropy; of equally sure ones the first.

    Args:
        answers: Probabilities of the classes, by each network.

    Returns:
        The place of the answer.

    Raises:
        ValueError: No network answered.
    """
    answered = [place for place, answer in enumerate(answers) if sum(answer.values()) > 0]
    if not answered:
        raise ValueError("no network gave an answer")
    return min(answered, key=lambda place: (measure_entropy(answers[place]), place))
