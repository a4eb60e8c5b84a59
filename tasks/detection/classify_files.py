"""What the images of a file or a folder show, by a classifier, without Label Studio.

What was said is written as it comes, so memory does not grow with the folder. A file or a plane
that cannot be read is listed with its reason and harms no other.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from ml_backend.learners.base import Model, Prediction
from ml_backend.learners.kinds import find_learner
from tasks.detection.scan_classifier import ScanClassifier
from tasks.exchange.choice_files import ClassifiedImage, write_choices
from tasks.sources.discover import Skipped
from tasks.sources.scan_source import SourceOptions


class ClassificationSummary(TypedDict):
    """What `classify` did.

    Attributes:
        images: Planes that were read; a plain image is one.
        seconds: From start to end.
        images_per_second: The one by the other.
        classes: How many images are called so, for each class of the model.
        skipped: What was left out, and why.
        model: The version's name.
        notes: How the source was understood.
    """

    images: int
    seconds: float
    images_per_second: float
    classes: dict[str, int]
    skipped: list[Skipped]
    model: str
    notes: list[str]


def classify(
    source: Path,
    model: Model,
    out: Path,
    version: str,
    progress: Callable[[float, float], None],
    options: SourceOptions = SourceOptions(),
) -> ClassificationSummary:
    """Say what an image, or every one of a folder and its folders, shows, and write `out`.

    Images come in natural order, named by their path within the folder; every plane of a file is
    an image of its own. The file appears when it is complete.

    Args:
        source: An image or a folder of them.
        model: Answers choices.
        out: A .csv or .json file.
        version: The version's name, for the summary.
        progress: Called with (done, all) files.
        options: How the source is read; every file is taken by itself.

    Raises:
        FileNotFoundError: There is no source.
        ValueError: `out` has another ending, or the folder holds no image.
        OSError: `out` cannot be written.
    """
    started = time.perf_counter()
    images = 0
    counts: Counter[str] = Counter()
    with write_choices(out, model.card.classes) as add:
        scans = ScanClassifier(source, model, replace(options, apart=True), progress=progress)
        for image in iterate_images(scans, model):
            add(image)
            counts.update(image.chosen)
            images += 1
    seconds = time.perf_counter() - started
    return {
        "images": images,
        "seconds": round(seconds, 3),
        "images_per_second": round(images / seconds, 2),
        "classes": {name: counts[name] for name in model.card.classes},
        "skipped": scans.skipped,
        "model": version,
        "notes": scans.notes,
    }


def iterate_images(scans: ScanClassifier, model: Model) -> Iterator[ClassifiedImage]:
    """Yield what each plane of each file is called.

    Args:
        scans: Looks at every file by itself and whole.
        model: The same.
    """
    card = model.card
    learner = find_learner(card.kind)
    for scan in scans.classify_scans():
        for plane, tiles in scan.choices.items():
            for (left, top, right, bottom), choices in tiles.items():
                prediction = Prediction((right - left, bottom - top), choices=choices)
                chosen = tuple(learner.list_confident(prediction, card))
                yield ClassifiedImage(scan.mosaic.name, plane, chosen, choices)
