"""What to do next, in one sentence. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

from ml_backend.system.plurals import format_count

# Held-out tasks that a version is judged on with some certainty; see `promotion.decision`.
ENOUGH_HELD_OUT = 20


@dataclass(frozen=True)
class Progress:
    """How far a project is.

    Attributes:
        tasks: All tasks.
        untouched: Tasks that nobody submitted.
        trained: A version pre-annotates it.
        training: A training runs.
        asked: A training was asked for, and has not begun.
        corrected: Tasks that were submitted since the last training.
        wanted: So many start the next one.
        held_out: Submitted tasks that are kept apart for judging.
        held_out_left: Tasks kept apart that nobody submitted.
        outlook: What the next corrections would bring, in a sentence; "" where it is not known.
    """

    tasks: int
    untouched: int
    trained: bool
    training: bool
    asked: bool
    corrected: int
    wanted: int
    held_out: int
    held_out_left: int
    outlook: str = ""


def describe_next_step(progress: Progress) -> tuple[str, str]:
    """Describe what to do next.

    Returns:
        What to do, in one sentence; and why, in another, or "".
    """
    if not progress.tasks:
        return "Import images into the project in Label Studio.", "It has no task yet."
    if progress.training:
        return (
            "Go on correcting; the new version comes by itself.",
            "What you submit while it trains counts for the one after.",
        )
    if progress.asked:
        return "Wait a moment: the training is about to begin.", ""
    if not progress.untouched:
        return (
            "Every task is reviewed: import more images, or read the figures.",
            progress.outlook,
        )
    left = progress.wanted - progress.corrected
    if not progress.trained:
        if left > 0:
            return (
                f"Mark the cells of {format_count(left, 'more image')}; then the first model "
                "is trained.",
                "No model knows these labels yet, so the images come without boxes.",
            )
        return "Start the training, or wait: it begins by itself.", ""
    lacking = min(ENOUGH_HELD_OUT - progress.held_out, progress.held_out_left)
    if left > progress.untouched:
        return (
            f"Correct the {format_count(progress.untouched, 'task')} that nobody reviewed, "
            "then start the training.",
            f"It begins by itself after {progress.wanted} corrections, and there are fewer tasks.",
        )
    if left > 0:
        return (
            f"Correct {format_count(left, 'more task')}; then the next version is trained.",
            progress.outlook,
        )
    if lacking > 0:
        return (
            f"Correct {format_count(lacking, 'task')} whose split is holdout.",
            "On those it is judged whether a new version is better.",
        )
    return "The next training begins by itself.", progress.outlook
