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
from ml_backend.learners.detector.inference import Detector
from ml_backend.system.atomic_files import appearing
from tasks.detection.detect_files import detected_in
from tasks.sources.discover import Skipped

OTHERS = "Others"
MITOTIC = "Chromosomes"
WHOLE, PARTIAL = "whole", "partial"
TABLE = "sorted.csv"


class Sorted(TypedDict):
    """images: that were sorted. folders: how many lie in each; one image may lie in several."""

    images: int
    folders: dict[str, int]
    skipped: list[Skipped]
    model: str


@dataclass(frozen=True)
class Shelves:
    """Which folders an image belongs in.

    headline: the detector's headline classes. by_class: a folder for each of them, also
    where they are all stages of one thing.
    """

    headline: tuple[str, ...]
    by_class: bool = False

    def of(self, found: Detected) -> list[str]:
        """The folders of an image, by what was found in it, as paths with '/'."""
        places: dict[str, str] = {}
        for one in found.detections:
            if one.label in self.headline:
                shelf = self._shelf(one.label)
                if places.get(shelf) != WHOLE:
                    places[shelf] = PARTIAL if one.partial else WHOLE
        return sorted(f"{shelf}/{part}" for shelf, part in places.items()) or [OTHERS]

    def all(self) -> list[str]:
        shelves = dict.fromkeys(map(self._shelf, self.headline))
        return [f"{shelf}/{part}" for shelf in shelves for part in (WHOLE, PARTIAL)] + [OTHERS]

    def _shelf(self, label: str) -> str:
        if not self.by_class and all(map(is_mitotic, self.headline)):
            return MITOTIC
        # A class may be called anything; a folder may not.
        return re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", label).strip(" .") or "_"


def sort(
    source: Path,
    detector: Detector,
    out: Path,
    model: str,
    *,
    by_class: bool,
    link: bool,
    progress: Callable[[float, float], None],
) -> Sorted:
    """Detect in an image or in those of a folder, and lay each into folders below `out`.

    out: a folder that is not there yet, or empty, and not within the source; it appears when
    it is complete, with the table TABLE: one row an image, its folders, and how many objects
    of each class it holds and how many of those are partial. Images keep their path below
    the source. link: do not copy; a hard link where the disk allows it, else a symbolic one.

    Raises what `detections.detected_in` raises, ValueError for a folder that cannot be used,
    OSError when it cannot be written.
    """
    check(source, out)
    shelves = Shelves(detector.card.headline, by_class)
    classes = detector.card.classes
    skipped: list[Skipped] = []
    counts = dict.fromkeys(shelves.all(), 0)
    images = 0
    with appearing(out) as folder:
        for place in counts:
            (folder / place).mkdir(parents=True)
        with (folder / TABLE).open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            partials = [f"{name} (partial)" for name in classes]
            table.writerow(["image", "folders", *classes, *partials])
            for found in detected_in(source, detector, progress):
                if not isinstance(found, Detected):
                    skipped.append(found)
                    continue
                original = source if source.is_file() else source / found.source
                places = shelves.of(found)
                try:
                    _lay(original, [folder / place / found.source for place in places], link)
                except FileNotFoundError:
                    skipped.append({"source": found.source, "reason": "it is gone"})
                    continue
                table.writerow([found.source, "; ".join(places), *_columns(found, classes)])
                counts.update({place: counts[place] + 1 for place in places})
                images += 1
    return {"images": images, "folders": counts, "skipped": skipped, "model": model}


def _columns(found: Detected, classes: Sequence[str]) -> Iterable[int]:
    every = Counter(one.label for one in found.detections)
    cut = Counter(one.label for one in found.detections if one.partial)
    return [*(every[name] for name in classes), *(cut[name] for name in classes)]


def check(source: Path, out: Path) -> None:
    """Raises FileNotFoundError without a source, ValueError when `out` cannot be used."""
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
