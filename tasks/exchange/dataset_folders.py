"""Labelled folders that other programs train on: YOLO, Pascal VOC, GeoJSON an image.

Each holds the images too, as Label Studio shows them: boxes are pixels of these.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import yaml  # type: ignore[import-untyped]
from globox import Annotation, BoundingBox

from ml_backend.dataset.split import Side
from ml_backend.system.atomic_files import appearing
from tasks.exchange.detection_files import Detected, writer
from tasks.exchange.image_names import flat, numbered

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


@dataclass(frozen=True)
class Labelled:
    """A task's image with its boxes.

    image: the file. side: for training, held out for judging, or between the two.
    """

    task: int
    marks: Detected
    image: Path
    side: Side


# What other programs call the sides. A buffer's images are written, but in no list of theirs:
# they lie between those for training and those for judging.
_PARTS: dict[Side, str] = {"train": "train", "holdout": "val", "buffer": "buffer"}

Add = Callable[[Labelled], None]
Format = Callable[[Path, Sequence[str]], AbstractContextManager[Add]]


@contextmanager
def _yolo(out: Path, classes: Sequence[str]) -> Iterator[Add]:
    """data.yaml, images/train, images/val, and the label files beside in labels/."""
    names = _Names()
    numbers = {name: number for number, name in enumerate(classes)}
    sides: set[str] = set()
    with appearing(out) as folder:

        def add(one: Labelled) -> None:
            side = _PARTS[one.side]
            sides.add(side)
            name = names.of(one)
            _copy(one.image, folder / "images" / side / name)
            text = _annotation(name, one.marks).to_yolo_v5(label_to_id=numbers)
            _write(folder / "labels" / side / f"{Path(name).stem}.txt", text)

        yield add
        first = "images/train" if "train" in sides else "images/val"
        data = {
            "train": first,
            # ultralytics wants a `val`, also where nothing was held out.
            "val": "images/val" if "val" in sides else first,
            "names": dict(enumerate(classes)),
        }
        _write(folder / "data.yaml", yaml.safe_dump(data, sort_keys=False, allow_unicode=True))


@contextmanager
def _voc(out: Path, classes: Sequence[str]) -> Iterator[Add]:
    """JPEGImages/ and Annotations/, with train.txt and val.txt in ImageSets/Main."""
    names = _Names()
    sides: dict[str, list[str]] = {part: [] for part in _PARTS.values()}
    with appearing(out) as folder:

        def add(one: Labelled) -> None:
            name = names.of(one)
            _copy(one.image, folder / "JPEGImages" / name)
            root = _annotation(name, one.marks).to_xml()
            ElementTree.indent(root)
            text = ElementTree.tostring(root, encoding="unicode")
            _write(folder / "Annotations" / f"{Path(name).stem}.xml", text + "\n")
            sides[_PARTS[one.side]].append(Path(name).stem)

        yield add
        del sides["buffer"]
        for side, stems in sides.items():
            text = "".join(f"{stem}\n" for stem in stems)
            _write(folder / "ImageSets" / "Main" / f"{side}.txt", text)


@contextmanager
def _geojson(out: Path, classes: Sequence[str]) -> Iterator[Add]:
    """Beside each image a GeoJSON of its own, as QuPath reads one image at a time."""
    names = _Names()
    with appearing(out) as folder:

        def add(one: Labelled) -> None:
            name = names.of(one)
            _copy(one.image, folder / name)
            with writer(folder / f"{Path(name).stem}.geojson") as write:
                write(one.marks)

        yield add


FORMATS: dict[str, Format] = {"yolo": _yolo, "voc": _voc, "geojson": _geojson}


class _Names:
    """File names whose stems are all different, also where letters are not told apart."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, one: Labelled) -> str:
        wanted = flat(one.marks.source)
        if PurePosixPath(wanted).stem.casefold() in self._taken:
            wanted = numbered(one.task, one.marks.source)
        path, endings = PurePosixPath(wanted), _true_endings(one.image)
        self._taken.add(path.stem.casefold())
        known = path.suffix.lower() in endings or not endings
        return wanted if known else path.stem + endings[0]


def _true_endings(image: Path) -> tuple[str, ...]:
    with image.open("rb") as file:
        start = file.read(8)
    return next((endings for known, endings in _ENDINGS if start.startswith(known)), ())


def _annotation(name: str, marks: Detected) -> Annotation:
    boxes = [
        BoundingBox(label=one.label, xmin=one.x1, ymin=one.y1, xmax=one.x2, ymax=one.y2)
        for one in marks.detections
    ]
    return Annotation(name, (marks.width, marks.height), boxes)


def _copy(image: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(image, to)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
