"""The strategy `random`: every order of the tasks is as likely as any other.

Uniform random sampling, the baseline that a strategy has to beat. The score is a hash of what
the task shows, the first 64 bits of SHA-256(key) over 2⁶⁴, which is uniform in [0, 1): a queue
that is published again keeps its order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.active_learning.strategies.base import Candidate, Context
from ml_backend.dataset.split import hash_to_unit


def score_randomly(candidates: Sequence[Candidate], context: Context) -> np.ndarray:
    """Score each candidate by a hash of its key; its boxes do not matter."""
    return np.array(
        [hash_to_unit(f"cytoloop random/{candidate.key}") for candidate in candidates], np.float64
    )
