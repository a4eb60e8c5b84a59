"""Images sorted into folders by what they hold, with a table of where each one went.

    Chromosomes/whole     a dividing cell that lies in the image as a whole
    Chromosomes/partial   dividing cells, all of them cut by the image's edge
    Others                none

Detectors of other things have a folder for each of their classes in place of Chromosomes;
an image of several lies in several. A classifier has a folder for each of its classes.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Protocol, TypedDict

from ml_backend.dataset.annotation_formats.records import Detected
from ml_backend.label_studio.class_names import is_mitotic
from ml_backend.learners.base import Model, ObjectDetector, Prediction
from ml_backend.learners.kinds import find_learner
from ml_backend.system.atomic_files import create_folder
from ml_backend.system.csv_cells import write_cell
from tasks.detection.classify_files import iterate_images
from tasks.detection.detect_files import iterate_detections
from tasks.detection.scan_classifier import ScanClassifier
from tasks.sources.discover import Skipped
from tasks.sources.scan_source import SourceOptions

OTHERS = "Others"
NO_CLASS = "No class"
MITOTIC = "Chromosomes"
WHOLE, PARTIAL = "whole", "partial"
TABLE = "sorted.csv"


class SortSummary(TypedDict):
    """What `sort` did.

    Attributes:
        images: That were sorted.
        folders: How many lie in each; one image may lie in several.
        skipped: What was left out, and why.
        model: The version's name.
    """

    images: int
    folders: dict[str, int]
    skipped: list[Skipped]
    model: str


@dataclass(frozen=True)
class FolderRule:
    """Which folders an image belongs in.

    Attributes:
        headline: The detector's headline classes.
        by_class: A folder for each of them, also where they are all stages of one thing.
    """

    headline: tuple[str, ...]
    by_class: bool = False

    def choose_folders(self, found: Detected) -> list[str]:
        """Return the folders of an image, by what was found in it, as paths with '/'."""
        places: dict[str, str] = {}
        for detection in found.detections:
            if detection.label in self.headline:
                shelf = self._folder(detection.label)
                if places.get(shelf) != WHOLE:
                    places[shelf] = PARTIAL if detection.partial else WHOLE
        return sorted(f"{shelf}/{part}" for shelf, part in places.items()) or [OTHERS]

    def list_folders(self) -> list[str]:
        """List all folders that images may lie in."""
        shelves = dict.fromkeys(map(self._folder, self.headline))
        return [f"{shelf}/{part}" for shelf in shelves for part in (WHOLE, PARTIAL)] + [OTHERS]

    def _folder(self, label: str) -> str:
        if not self.by_class and all(map(is_mitotic, self.headline)):
            return MITOTIC
        return name_folder(label)


def name_folder(label: str) -> str:
    """Name the folder of a class: a class may be called anything, a folder may not."""
    return re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", label).strip(" .") or "_"


@dataclass(frozen=True)
class SortedImage:
    """Where an image belongs.

    Attributes:
        source: Its name within the source.
        folders: As paths with '/'.
        cells: Of its row in the table, for the sorter's columns.
    """

    source: str
    folders: Sequence[str]
    cells: Sequence[float]


class Sorter(Protocol):
    """Says where images belong."""

    @property
    def folders(self) -> list[str]:
        """All folders that images may lie in."""
        ...

    @property
    def columns(self) -> list[str]:
        """What the table says of each image."""
        ...

    def sort(
        self, source: Path, progress: Callable[[float, float], None]
    ) -> Iterator[SortedImage | Skipped]:
        """Yield where each image of a source belongs, or why it was left out."""
        ...


@dataclass(frozen=True)
class ObjectSorter:
    """Sorts images by the objects that a detector finds in them.

    Attributes:
        detector: What detects.
        by_class: A folder for each headline class, also where they are all stages of one thing.
    """

    detector: ObjectDetector
    by_class: bool = False

    @property
    def folders(self) -> list[str]:
        """See `Sorter`."""
        return FolderRule(self.detector.card.headline, self.by_class).list_folders()

    @property
    def columns(self) -> list[str]:
        """How many objects of each class there are, and how many of those are partial."""
        classes = self.detector.card.classes
        return [*classes, *(f"{name} (partial)" for name in classes)]

    def sort(
        self, source: Path, progress: Callable[[float, float], None]
    ) -> Iterator[SortedImage | Skipped]:
        """See `Sorter`."""
        rule = FolderRule(self.detector.card.headline, self.by_class)
        for found in iterate_detections(source, self.detector, progress):
            if not isinstance(found, Detected):
                yield found
                continue
            every = Counter(detection.label for detection in found.detections)
            cut = Counter(d.label for d in found.detections if d.partial)
            counts = [which[name] for which in (every, cut) for name in self.detector.card.classes]
            yield SortedImage(found.source, rule.choose_folders(found), counts)


@dataclass(frozen=True)
class ChoiceSorter:
    """Sorts images by what a classifier calls them: a folder for each class.

    An image of several classes lies in several folders, one of none in NO_CLASS. Of a file of
    several planes the mean of their probabilities counts.
    """

    model: Model

    @property
    def folders(self) -> list[str]:
        """See `Sorter`."""
        classes = dict.fromkeys(map(name_folder, self.model.card.classes))
        return [*classes, *([NO_CLASS] if self.model.card.options.get("several") else [])]

    @property
    def columns(self) -> list[str]:
        """The probability of each class."""
        return list(self.model.card.classes)

    def sort(
        self, source: Path, progress: Callable[[float, float], None]
    ) -> Iterator[SortedImage | Skipped]:
        """See `Sorter`."""
        card = self.model.card
        learner = find_learner(card.kind)
        scans = ScanClassifier(source, self.model, SourceOptions(apart=True), progress=progress)
        told = 0
        images = iterate_images(scans, self.model)
        for name, planes in groupby(images, key=lambda image: image.source):
            members = [image.probabilities for image in planes]
            means = {label: fmean(member[label] for member in members) for label in card.classes}
            chosen = learner.list_confident(Prediction((1, 1), choices=means), card)
            folders = dict.fromkeys(map(name_folder, chosen)) or [NO_CLASS]
            yield SortedImage(name, list(folders), [round(p, 4) for p in means.values()])
            yield from scans.skipped[told:]
            told = len(scans.skipped)
        yield from scans.skipped[told:]


def sort(
    source: Path,
    sorter: Sorter,
    out: Path,
    model: str,
    *,
    link: bool,
    progress: Callable[[float, float], None],
) -> SortSummary:
    """Lay an image, or those of a folder, each into folders below `out`.

    The folder appears when it is complete, with the table TABLE: one row an image, its folders,
    and what the sorter says of it. Images keep their path below the source.

    Args:
        source: An image or a folder of them.
        sorter: Says where each belongs.
        out: A folder that is not there yet, or empty, and not within the source.
        model: The version's name, for the summary.
        link: Do not copy; a hard link where the disk allows it, else a symbolic one.
        progress: Called with (done, all) files.

    Raises:
        FileNotFoundError: There is no source.
        ValueError: The source holds no image, or `out` cannot be used.
        OSError: `out` cannot be written.
    """
    check_folders(source, out)
    skipped: list[Skipped] = []
    counts = dict.fromkeys(sorter.folders, 0)
    images = 0
    with create_folder(out) as folder:
        for place in counts:
            (folder / place).mkdir(parents=True)
        with (folder / TABLE).open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(map(write_cell, ["image", "folders", *sorter.columns]))
            for image in sorter.sort(source, progress):
                if not isinstance(image, SortedImage):
                    skipped.append(image)
                    continue
                original = source if source.is_file() else source / image.source
                places = [folder / place / image.source for place in image.folders]
                try:
                    _lay(original, places, link)
                except FileNotFoundError:
                    skipped.append({"source": image.source, "reason": "it is gone"})
                    continue
                cells = [image.source, "; ".join(image.folders), *image.cells]
                table.writerow(map(write_cell, cells))
                counts.update({place: counts[place] + 1 for place in image.folders})
                images += 1
    return {"images": images, "folders": counts, "skipped": skipped, "model": model}


def check_folders(source: Path, out: Path) -> None:
    """Check that a source can be sorted into a folder.

    Raises:
        FileNotFoundError: There is no source.
        ValueError: `out` is not an empty folder, or lies within the source.
    """
    if not source.exists():
        raise FileNotFoundError(f"{source}: there is no such file or folder")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not an empty folder; sort into a new one")
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"{out} lies within {source}; sort into a folder elsewhere")


def _lay(image: Path, places: Iterable[Path], link: bool) -> None:
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        if not link:
            shutil.copy2(image, place)
            continue
        try:
            os.link(image.resolve(), place)
            continue
        except FileNotFoundError:
            raise
        except OSError:  # another disk, or one without hard links
            pass
        try:
            place.symlink_to(image.resolve())
        except OSError as error:
            raise OSError(
                f"{place} cannot be a link ({error.strerror}); sort without --link"
            ) from error
