"""Images sorted into folders by what they hold, with a table of where each one went.

    Chromosomes/whole     a dividing cell that lies in the image as a whole
    Chromosomes/partial   dividing cells, all of them cut by the image's edge
    Others                none

Detectors of other things have a folder for each of their classes in place of Chromosomes;
an image of several lies in several.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from ml_backend.dataset.annotation_formats.records import Detected
from ml_backend.label_studio.class_names import is_mitotic
from ml_backend.learners.base import ObjectDetector
from ml_backend.system.atomic_files import create_folder
from ml_backend.system.csv_cells import write_cell
from tasks.detection.detect_files import iterate_detections
from tasks.sources.discover import Skipped

OTHERS = "Others"
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
        # A class may be called anything; a folder may not.
        return re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", label).strip(" .") or "_"


def sort(
    source: Path,
    detector: ObjectDetector,
    out: Path,
    model: str,
    *,
    by_class: bool,
    link: bool,
    progress: Callable[[float, float], None],
) -> SortSummary:
    """Detect in an image or in those of a folder, and lay each into folders below `out`.

    The folder appears when it is complete, with the table TABLE: one row an image, its folders,
    and how many objects of each class it holds and how many of those are partial. Images keep
    their path below the source.

    Args:
        source: An image or a folder of them.
        detector: What detects.
        out: A folder that is not there yet, or empty, and not within the source.
        model: The version's name, for the summary.
        by_class: A folder for each class, also for stages.
        link: Do not copy; a hard link where the disk allows it, else a symbolic one.
        progress: Called with (done, all) files.

    Raises:
        FileNotFoundError: There is no source.
        ValueError: The source holds no image, or `out` cannot be used.
        OSError: `out` cannot be written.
    """
    check_folders(source, out)
    rule = FolderRule(detector.card.headline, by_class)
    classes = detector.card.classes
    skipped: list[Skipped] = []
    counts = dict.fromkeys(rule.list_folders(), 0)
    images = 0
    with create_folder(out) as folder:
        for place in counts:
            (folder / place).mkdir(parents=True)
        with (folder / TABLE).open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            partials = [f"{name} (partial)" for name in classes]
            table.writerow(map(write_cell, ["image", "folders", *classes, *partials]))
            for found in iterate_detections(source, detector, progress):
                if not isinstance(found, Detected):
                    skipped.append(found)
                    continue
                original = source if source.is_file() else source / found.source
                places = rule.choose_folders(found)
                try:
                    _lay(original, [folder / place / found.source for place in places], link)
                except FileNotFoundError:
                    skipped.append({"source": found.source, "reason": "it is gone"})
                    continue
                cells = [found.source, "; ".join(places), *_columns(found, classes)]
                table.writerow(map(write_cell, cells))
                counts.update({place: counts[place] + 1 for place in places})
                images += 1
    return {"images": images, "folders": counts, "skipped": skipped, "model": model}


def _columns(found: Detected, classes: Sequence[str]) -> Iterable[int]:
    every = Counter(detection.label for detection in found.detections)
    cut = Counter(detection.label for detection in found.detections if detection.partial)
    return [*(every[name] for name in classes), *(cut[name] for name in classes)]


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
