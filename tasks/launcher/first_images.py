"""Which images a person should see first in a new project.

In the demo: one whose cells are found beyond doubt, so that it is clear what a box is, then a
doubtful one. With images that no shipped detector knows: ten that differ, to be marked by hand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.imaging.decode import UnreadableImage, decode
from ml_backend.learners.base import Model, Picture

# Images that are looked at to tell whether a detector knows such images.
LOOKED_AT = 12
# It does not where, in more than two of three, it finds nothing of any class that it is so sure of.
# It does in all of 60 images of plant_mitosis and 4 of chromatid_cohesion, and in 4 % of 50 of
# phase_contrast and none of 52 of mitocheck_cells.
SURE = 0.5
KNOWN_SHARE = 1 / 3
# Images to be marked first where no detector knows them: as many as one marks at a sitting.
MARKED_FIRST = 10
# The title of the tab that holds them.
MARK_FIRST = "Mark these first"
# A task with so many boxes is clear at a glance.
_FEW, _MANY = 2, 6


@dataclass(frozen=True)
class FirstLook:
    """What a detector finds in some images of a folder.

    Attributes:
        images: How many were looked at; 0 where there is no detector for the labels.
        with_objects: In how many it finds anything, of any class, that it is sure of.
    """

    images: int
    with_objects: int

    @property
    def is_known(self) -> bool:
        """Whether the detector knows such images."""
        return self.images > 0 and self.with_objects >= KNOWN_SHARE * self.images

    def describe(self, tasks: int) -> str:
        """Say what was found and what follows, for images that are not known.

        Args:
            tasks: How many the project holds.
        """
        found = f"only {self.with_objects}" if self.with_objects else "none"
        why = (
            f"The shipped detector is sure of something in {found} of {self.images} images that "
            "were looked at: it does not know this microscope or stain."
            if self.images
            else "No shipped model knows these labels, so nothing is marked yet."
        )
        what = f"the {MARKED_FIRST} images of the tab {MARK_FIRST!r}, which were chosen for you"
        others = "the others"
        if tasks <= MARKED_FIRST:
            what = "the image" if tasks == 1 else f"all {tasks} images"
            others = "those that you add"
        return (
            f"{why} Mark {what}, then press Start training: a model of your own learns from them "
            f"and marks {others}."
        )


def look_at(model: Model, paths: Sequence[Path]) -> FirstLook:
    """Look whether a model finds anything in some images of a folder.

    Args:
        model: What pre-annotates.
        paths: Images; what cannot be read is passed over.
    """
    answers = list(model.predict(map(Picture, _read(pick_evenly(paths, LOOKED_AT)))))
    found = sum(
        bool(answer.choices) or bool((answer.boxes.confidence >= SURE).any()) for answer in answers
    )
    return FirstLook(len(answers), found)


def _read(paths: Iterable[Path]) -> Iterator[np.ndarray]:
    for path in paths:
        with suppress(UnreadableImage, OSError):
            yield decode(path.read_bytes())


def pick_evenly(items: Sequence[Any], number: int) -> list[Any]:
    """Pick up to `number` items of a row, evenly spaced: neighbours in a folder look alike."""
    if len(items) <= number:
        return list(items)
    places = np.linspace(0, len(items) - 1, number).round().astype(int)
    return [items[place] for place in places]


def choose_to_mark(tasks: Sequence[Mapping[str, Any]], number: int = MARKED_FIRST) -> list[int]:
    """Choose the tasks to be marked first, where nothing is pre-annotated.

    They come from all samples in turn, evenly spaced in each. A fifth of them, two at least, are
    held out where there are such, because without an exam no detector is promoted.

    Args:
        tasks: Of the project, as Label Studio's API gives them, in the order of the import.
        number: How many.

    Returns:
        Their ids, ascending.
    """
    held_out = [task for task in tasks if task["data"].get("split") == "holdout"]
    others = [task for task in tasks if task["data"].get("split") != "holdout"]
    exam = _pick_from_samples(held_out, max(2, number // 5))
    chosen = exam + _pick_from_samples(others, number - len(exam))
    return sorted(task["id"] for task in chosen)


def _pick_from_samples(tasks: Sequence[Mapping[str, Any]], number: int) -> list[Mapping[str, Any]]:
    samples: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for task in tasks:
        samples[str(task["data"].get("sample", ""))].append(task)
    picked: list[Mapping[str, Any]] = []
    left = number
    # The smallest samples first, so that what they cannot give comes from the larger ones.
    for place, sample in enumerate(sorted(samples.values(), key=len)):
        share = -(-left // (len(samples) - place))
        taken = pick_evenly(sample, share)
        picked += taken
        left -= len(taken)
    return picked


def choose_opening(tasks: Iterable[Mapping[str, Any]]) -> list[int]:
    """Choose the pre-annotations that open the demo: a clear one, then a doubtful one.

    Args:
        tasks: With their pre-annotations.

    Returns:
        Their ids, in this order; fewer where fewer tasks have boxes.
    """
    confidences = {
        task["predictions"][0]["id"]: _read_confidences(task["predictions"][0])
        for task in tasks
        if task["predictions"]
    }
    boxed = {number: found for number, found in confidences.items() if found}
    clear = [number for number, found in boxed.items() if _FEW <= len(found) <= _MANY]
    opening = sorted(clear or boxed, key=lambda number: -min(boxed[number]))[:1]
    doubtful = sorted(boxed.keys() - opening, key=lambda number: min(boxed[number]))
    return opening + doubtful[:1]


def _read_confidences(prediction: Mapping[str, Any]) -> list[float]:
    return [region["score"] for region in prediction["result"] if "score" in region]
