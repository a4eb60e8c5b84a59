"""Failures in the words of whoever looks at cells, each with what to do. Pure functions."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """Something that does not work.

    Attributes:
        what: What does not work, in one sentence.
        remedy: What to do.
        detail: What the program said.
        tasks: The tasks that it is about.
    """

    what: str
    remedy: str
    detail: str = ""
    tasks: tuple[int, ...] = ()


_ANY = (
    "Something went wrong that this page has no words for.",
    "Read what the program said; if it does not help, run cytoloop doctor and look into the log.",
)
# What a message of the program says → what it means, and what to do. The first that fits counts.
# Of trainings that made no version:
_TRAININGS: tuple[tuple[str, str, str], ...] = (
    (
        r"no corrected training task|kept apart for judging: correct tasks whose",
        "Nothing to learn from yet: all that was corrected is kept apart for judging.",
        "Correct some tasks whose split is train; the column split in Label Studio's table "
        "shows it.",
    ),
    (
        r"mark of a headline class|no image is labelled|of one class",
        "The corrected tasks hold too little to learn from.",
        "Mark some cells of the classes that the project is about, in several images.",
    ),
    (
        r"nothing that can be learned",
        "The labels of the project mark nothing that a model can learn.",
        "Add RectangleLabels or Choices on the image (Settings, Labeling Interface).",
    ),
    (
        r"memory|killed",
        "The computer had too little memory for the training.",
        "Close other programs, or set CYTOLOOP_IMGSZ to a smaller size; it is tried again by "
        "itself.",
    ),
    (
        r"at every learning rate",
        "The training ended in nonsense at every attempt.",
        "Look for boxes that are far too large or in the wrong place: cells sorted by "
        "disagreement show them.",
    ),
)
# Of everything else:
_OTHERS: tuple[tuple[str, str, str], ...] = (
    (
        r"images may not come from",
        "The images lie on a server that cytoloop was not allowed to ask.",
        "Whoever runs cytoloop can allow it: add the host that is named to "
        "CYTOLOOP_ALLOWED_IMAGE_HOSTS and start again.",
    ),
    (
        r"refuses the (access )?token|token (is|has) expired",
        "Label Studio does not let cytoloop in any more.",
        "Make a new access token in Label Studio (Account & Settings) and run cytoloop connect "
        "with it.",
    ),
    (
        r"no space|disk is full|Disk quota|database or disk is full",
        "The disk is full.",
        "Make room on the disk that holds the data folder; then everything goes on by itself.",
    ),
    (
        r"HTTP 404|no such file",
        "The image is not where the task says.",
        "Put the file back, or delete the task in Label Studio.",
    ),
    (
        r"HTTP 40[13]",
        "The server that holds the image refuses to hand it out.",
        "Check the storage of the project in Label Studio (Settings, Cloud Storage).",
    ),
    (
        r"does not answer|Connection refused|timed out",
        "Label Studio, or the server that holds the images, does not answer.",
        "Check that it runs and can be reached from this machine; it is asked again by itself.",
    ),
    (
        r"queued|tries again later|too slow|took longer|slow to come",
        "The image came too slowly, so its boxes are drawn later.",
        "Nothing: it is tried again by itself. If it stays, check the server that holds the image.",
    ),
    (
        r"file is empty|cut off or corrupt|cannot be decoded|not an image",
        "The file is damaged or is no image.",
        "Export the image again from the microscope's software as PNG, JPEG or TIFF, and import "
        "it in place of the old one.",
    ),
    (
        r"too large|can be decoded; cut it|GB",
        "The image is too large to be shown as one task.",
        "Send it as a scan: cytoloop scan cuts it into tiles.",
    ),
    (
        r"has no image in its field",
        "The task names no image.",
        "Check that the labeling config and the imported table use the same name for the image.",
    ),
    (
        r"model failed on this image",
        "The model cannot work with this image.",
        "Check that the image is like the others; else delete its task.",
    ),
)


def explain(detail: str, tasks: tuple[int, ...] = ()) -> Failure:
    """Say what a message of the program means, and what to do.

    Args:
        detail: The message.
        tasks: The tasks that it is about.
    """
    for pattern, what, remedy in (*_TRAININGS, *_OTHERS):
        if re.search(pattern, detail, re.IGNORECASE):
            return Failure(what, remedy, detail, tasks)
    return Failure(*_ANY, detail, tasks)


def explain_training(outcome: str) -> Failure | None:
    """Say why a training made no version; None where its outcome tells of no failure.

    Args:
        outcome: What came of it, in a line.
    """
    for pattern, what, remedy in _TRAININGS:
        if re.search(pattern, outcome, re.IGNORECASE):
            return Failure(f"The last training made no version. {what}", remedy, outcome)
    return None


def join_failures(failures: list[Failure]) -> list[Failure]:
    """Join failures that mean the same: their tasks together, the first message as an example."""
    joined: dict[str, Failure] = {}
    for failure in failures:
        known = joined.get(failure.what)
        tasks = (*(known.tasks if known else ()), *failure.tasks)
        joined[failure.what] = Failure(
            failure.what,
            failure.remedy,
            known.detail if known else failure.detail,
            tuple(sorted(set(tasks))),
        )
    return list(joined.values())
