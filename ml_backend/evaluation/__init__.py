"""Predictions and truth → figures; pure functions on arrays."""

from ml_backend.evaluation.centres import match_centres
from ml_backend.evaluation.figures import SPECIFICITY, ClassFigures, Figures, evaluate
from ml_backend.evaluation.resampling import Figure, sensitivity_at
from ml_backend.evaluation.tallies import Counts, count, f1_by_class

__all__ = [
    "SPECIFICITY",
    "ClassFigures",
    "Counts",
    "Figure",
    "Figures",
    "count",
    "evaluate",
    "f1_by_class",
    "match_centres",
    "sensitivity_at",
]
