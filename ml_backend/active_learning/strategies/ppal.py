"""The strategy `ppal`: first the doubtful, classes that go badly counting more; then the diverse.

Plug and play active learning for object detection (Yang, Huang, Crowley, CVPR 2024, arXiv
2211.11612). First u = Σ w_c·H(p) over the boxes of confidence p and class c, H the binary entropy,
w_c = 1 + αβ·ln(1 + γ·d_c) with the class's difficulty d_c, γ = e^(1/α) - 1, α = 0.3, β = 0.2.
Then, among the FEW with the highest u, farthest first from what was taken (k-centre greedy), by
class-conditioned matching of boxes: the similarity of A to B is Σ p·max cos(f, g) / Σ p, over the
boxes f of A against the boxes g of the same class of B, and the mean of both ways is taken. The
others follow by u.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log1p

import numpy as np

from ml_backend.active_learning.strategies.base import Candidate, Context
from ml_backend.active_learning.strategies.entropy import compute_entropy
from ml_backend.active_learning.strategies.ordering import draw_units, score_places

ALPHA, BETA = 0.3, 0.2
FEW = 100


def score_ppal(candidates: Sequence[Candidate], context: Context) -> np.ndarray:
    """Score each candidate by its place; see the module."""
    owner = np.repeat(np.arange(len(candidates)), [len(c.boxes) for c in candidates])
    p = np.concatenate([np.zeros(0), *(c.boxes.confidence for c in candidates)])
    label = np.concatenate([np.zeros(0, np.str_), *(c.boxes.label for c in candidates)])
    names, places = np.unique(label, return_inverse=True)
    weights = np.array([weigh_class(context.difficulty.get(str(n), 0.0)) for n in names])
    doubt = compute_entropy(p) * weights[places] if len(p) else p
    u = np.bincount(owner, doubt, minlength=len(candidates))
    order = np.lexsort((draw_units(candidates, "ppal"), -u))
    few = [candidates[place] for place in order[:FEW]]
    return score_places([*order[:FEW][order_farthest_first(few)], *order[FEW:]])


def weigh_class(difficulty: float) -> float:
    """Compute the weight w_c of a class of this difficulty (0..1): from 1 to 1 + BETA."""
    return 1 + ALPHA * BETA * log1p((exp(1 / ALPHA) - 1) * difficulty)


def order_farthest_first(candidates: Sequence[Candidate]) -> list[int]:
    """Order candidates, from the first on, each the least like all that come before it."""
    order, left = [], list(range(len(candidates)))
    nearest = np.full(len(candidates), -np.inf)
    while left:
        place = left.pop(int(np.argmin(nearest[left])))
        order.append(place)
        for other in left:
            alike = _compute_similarity(candidates[place], candidates[other])
            nearest[other] = max(nearest[other], alike)
    return order


def _compute_similarity(a: Candidate, b: Candidate) -> float:
    if a.features is None or b.features is None or not len(a.boxes) or not len(b.boxes):
        return 0.0
    cosine = np.where(
        a.boxes.label[:, None] == b.boxes.label[None, :], a.features @ b.features.T, 0.0
    )
    ways = [(cosine.max(axis=1), a.boxes.confidence), (cosine.max(axis=0), b.boxes.confidence)]
    return float(np.mean([(best * p).sum() / max(p.sum(), 1e-9) for best, p in ways]))
