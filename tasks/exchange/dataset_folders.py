"""Labelled folders that other programs train on: YOLO, Pascal VOC, GeoJSON an image.

Each holds the images too, as Label Studio shows them: boxes are pixels of these.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ml_backend.dataset.annotation_formats.formats import FOLDERS
from ml_backend.dataset.annotation_formats.records import Detected
from ml_backend.dataset.split import Side
from ml_backend.system.atomic_files import create_folder
from tasks.exchange.image_names import add_number, flatten

# How files begin, and the endings that such a file may have, the usual one first.
_ENDINGS = (
    (b"\x89PNG", (".png",)),
    (b"\xff\xd8\xff", (".jpg", ".jpeg")),
    (b"GIF8", (".gif",)),
    (b"BM", (".bmp",)),
    (b"RIFF", (".webp",)),
    (b"II", (".tif", ".tiff")),
    (b"MM", (".tif", ".tiff")),
)

# What other programs call the sides. A buffer's images are written, but in no list of theirs:
# they lie between those for training and those for judging.
_PARTS: dict[Side, str] = {"train": "train", "holdout": "val", "buffer": "buffer"}


@dataclass(frozen=True)
class Labelled:
    """A task's image with its boxes.

    Attributes:
        task: The id of the task.
        detected: Its boxes and the name of its image.
        image: The file.
        side: Whether it is for training, held out for judging, or between the two.
    """

    task: int
    detected: Detected
    image: Path
    side: Side


Add = Callable[[Labelled], None]


@contextmanager
def write_folder(out: Path, form: str, classes: Sequence[str]) -> Iterator[Add]:
    """Write a labelled folder, which appears when it is complete; yields what adds an image.

    Args:
        out: A folder that does not exist yet, or an empty one.
        form: The name of one of `FOLDERS`.
        classes: The labels that boxes may have.
    """
    layout = FOLDERS[form](classes)
    names = _FileNames()
    with create_folder(out) as folder:

        def add(labelled: Labelled) -> None:
            name = names.make(labelled)
            placed = layout.place(name, _PARTS[labelled.side], labelled.detected)
            _copy(labelled.image, folder / placed.image)
            _write(folder / placed.annotations, placed.text)

        yield add
        for path, text in layout.list_files().items():
            _write(folder / path, text)


class _FileNames:
    """File names whose stems are all different, also where letters are not told apart."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def make(self, labelled: Labelled) -> str:
        source = labelled.detected.source
        wanted = flatten(source)
        if PurePosixPath(wanted).stem.casefold() in self._taken:
            wanted = add_number(labelled.task, source)
        path, endings = PurePosixPath(wanted), _find_endings(labelled.image)
        self._taken.add(path.stem.casefold())
        known = path.suffix.lower() in endings or not endings
        return wanted if known else path.stem + endings[0]


def _find_endings(image: Path) -> tuple[str, ...]:
    """The endings that suit what a file holds, whatever it is called."""
    with image.open("rb") as file:
        start = file.read(8)
    return next((endings for known, endings in _ENDINGS if start.startswith(known)), ())


def _copy(image: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(image, to)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
