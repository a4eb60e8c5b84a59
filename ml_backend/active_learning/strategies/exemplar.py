"""The strategy `exemplar`: more like these, for a cold start or a rare stage.

A candidate is as near as the box in it that is most like any of the marked cells, by the cosine of
their features in the version's own network: nearest neighbours in a detector's features, as
instance retrieval has it (Tolias, Sicre, Jégou, Particular object retrieval with integral
max-pooling of CNN activations, ICLR 2016). The score is (1 - cosine) / 2. Where nothing is marked
yet, or no box is there, chance decides, after all that have one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.active_learning.strategies.base import Candidate, Context
from ml_backend.active_learning.strategies.ordering import draw_units


def score_exemplar(candidates: Sequence[Candidate], context: Context) -> np.ndarray:
    """Score each candidate by its distance from the exemplars; see the module."""
    # Distances take the first part of 0..1, what has none comes by chance in the second.
    scores = 0.75 + draw_units(candidates, "exemplar") / 4
    if context.exemplars is None or not len(context.exemplars):
        return scores
    for place, candidate in enumerate(candidates):
        if candidate.features is not None and len(candidate.features):
            cosine = float((candidate.features @ context.exemplars.T).max())
            scores[place] = 0.75 * np.clip((1 - cosine) / 2, 0, 1)
    return scores
