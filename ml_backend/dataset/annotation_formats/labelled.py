"""Four ways people store boxes, read as one: Pascal VOC, YOLO, COCO and Create ML.

globox turns each format's coordinates into corners, box by box. Its readers of whole
files are not used: they stop at the first bad box, and drop what says that a box neither
counts nor punishes (VOC's `difficult`, COCO's `iscrowd`). It has no reader for Create ML.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, Protocol
from xml.etree import ElementTree

import yaml  # type: ignore[import-untyped]
from globox import BoundingBox, BoxFormat
from globox.errors import ParsingError

VOC_FOLDERS = ("voc_checked", "voc", "Annotations")

Report = Callable[[Path, str], None]

# What globox and plain indexing raise on a box or a file that is not what it should be.
BAD = (
    ParsingError,
    AssertionError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
)


@dataclass
class Marks:
    """What one annotation says of one image.

    size: width, height of the image as shown, in pixels.
    rows: (x1, y1, x2, y2, label) in pixels, clipped to the image.
    ignored: (x1, y1, x2, y2) of what neither counts nor punishes.
    bad: why a box was left out, one entry a box.
    """

    size: tuple[int, int]
    rows: list[tuple[float, float, float, float, str]] = field(default_factory=list)
    ignored: list[tuple[float, float, float, float]] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)

    def add(self, make: Callable[[], BoundingBox], *, ignored: bool = False) -> None:
        """Keep the box that `make` reads, or say in `bad` why it cannot be kept."""
        try:
            box = make()
            x1, x2 = (min(max(x, 0.0), float(self.size[0])) for x in (box.xmin, box.xmax))
            y1, y2 = (min(max(y, 0.0), float(self.size[1])) for y in (box.ymin, box.ymax))
            label = str(box.label).strip()
        except BAD as error:
            reason = str(error) or type(error).__name__
            self.bad.append(f"no {reason}" if isinstance(error, KeyError) else reason)
            return
        # Negated, so that NaN is caught too.
        if not (box.xmax > box.xmin and box.ymax > box.ymin):
            self.bad.append("its size is zero")
        elif not (x2 > x1 and y2 > y1):
            self.bad.append("it lies outside the image")
        elif not label:
            self.bad.append("it has no label")
        elif ignored:
            self.ignored.append((x1, y1, x2, y2))
        else:
            self.rows.append((x1, y1, x2, y2, label))


@dataclass(frozen=True)
class Images:
    """The image files of a folder, with their shown size (width, height)."""

    root: Path
    sizes: dict[Path, tuple[int, int]]

    @cached_property
    def by_name(self) -> dict[str, list[Path]]:
        """Images by file name."""
        found = defaultdict(list)
        for image in self.sizes:
            found[image.name].append(image)
        return found

    def find(self, written: str, base: Path) -> Path:
        """The image that an annotation names by a path, from `base`, the root, or by name alone.

        Raises LookupError, saying why, when none or several answer to it.
        """
        written = str(written).replace("\\", "/")
        for start in (base, self.root):
            path = Path(os.path.normpath(start / written))
            if path in self.sizes:
                return path
        named = self.by_name.get(written.rsplit("/", 1)[-1], [])
        if len(named) != 1:
            raise LookupError(
                f"{len(named)} images are called {written}" if named else f"no image {written}"
            )
        return named[0]


class Known(Protocol):
    """Images that annotations may be of: which one a name means, and the size of those named."""

    @property
    def sizes(self) -> Mapping[Path, tuple[int, int]]: ...

    def find(self, written: str, base: Path) -> Path: ...


Found = Iterator[tuple[Path, Path, Marks]]
"""(image, annotation file, its marks)"""


def read_voc(images: Images, report: Report) -> Found:
    """Pascal VOC files, by stem, from the nearest annotation folder at or above an image.

    The first of VOC_FOLDERS that exists there is taken whole, so that checked boxes are
    never mixed with unchecked ones; without any, the file beside the image counts.
    """

    @cache
    def home(folder: Path) -> Path:
        for name in VOC_FOLDERS:
            if (folder / name).is_dir():
                return folder / name
        return folder if folder == images.root else home(folder.parent)

    by_home: dict[Path, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for image in images.sizes:
        place = home(image.parent)
        by_home[place if place.name in VOC_FOLDERS else image.parent][image.stem].append(image)

    for place, stems in by_home.items():
        files = place.rglob("*.xml") if place.name in VOC_FOLDERS else place.glob("*.xml")
        by_stem = defaultdict(list)
        for file in sorted(files):
            by_stem[file.stem].append(file)
        for stem, twins in by_stem.items():
            owners = stems.get(stem, [])
            if len(twins) > 1 or len(owners) != 1:
                why = (
                    f"{len(twins)} annotation files"
                    if len(twins) > 1
                    else (f"{len(owners)} images" if owners else "no image")
                )
                report(twins[0], f"{why} with the stem {stem}; left unlabelled")
                continue
            try:
                yield owners[0], twins[0], voc_marks(twins[0], images.sizes[owners[0]])
            except (OSError, ElementTree.ParseError, *BAD) as error:
                report(twins[0], f"not a Pascal VOC file: {error}")


def voc_marks(file: Path, size: tuple[int, int]) -> Marks:
    """What one Pascal VOC file says of an image of that size (width, height).

    Raises OSError, ParseError, or ValueError when it is of something else.
    """
    root = ElementTree.parse(file).getroot()
    if root.tag != "annotation":
        raise ValueError(f"its root is <{root.tag}>")
    stated = tuple(int(float(root.findtext(f"size/{side}") or 0)) for side in ("width", "height"))
    if all(stated) and stated != size:
        raise ValueError(_mismatch(stated, size))
    marks = Marks(size)
    for node in root.iter("object"):
        difficult = (node.findtext("difficult") or "0").strip().lower() in ("1", "true")
        marks.add(partial(BoundingBox.from_xml, node), ignored=difficult)
    return marks


def read_yolo(images: Images, report: Report) -> Found:
    """The label files of every `data.yaml`: its train, val and test images.

    Polygons count as the boxes around them. An image without a label file is unlabelled.
    """
    for file in _files(images.root, "data.yaml"):
        try:
            data = yaml.safe_load(file.read_text("utf-8"))
            names = yolo_names(data)
            listed = list(_yolo_images(data, file, images, report))
        except (OSError, yaml.YAMLError, *BAD) as error:
            report(file, f"not a YOLO data file: {error}")
            continue
        for image in listed:
            # The rule of YOLO: the last folder called images is labels for the label file.
            parts = list(image.with_suffix(".txt").parts)
            if "images" in parts:
                parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
            labels = Path(*parts)
            if not labels.is_file():
                continue
            try:
                lines = labels.read_text("utf-8-sig").splitlines()
            except (OSError, ValueError) as error:
                report(labels, f"not a YOLO label file: {error}")
                continue
            yield image, labels, yolo_marks(lines, names, images.sizes[image])


def yolo_marks(lines: Iterable[str], names: dict[int, str], size: tuple[int, int]) -> Marks:
    """What the lines of one YOLO label file say of an image of that size (width, height)."""
    marks = Marks(size)
    for line in filter(str.strip, lines):
        marks.add(partial(_yolo_box, line, names, size))
    return marks


def yolo_names(data: dict[str, Any]) -> dict[int, str]:
    """The classes of a `data.yaml` by number. Raises KeyError, TypeError or ValueError."""
    names = data["names"]
    return dict(enumerate(names)) if isinstance(names, list) else dict(names)


def _yolo_box(line: str, names: dict[int, str], size: tuple[int, int]) -> BoundingBox:
    read = BoundingBox.from_yolo_seg if len(line.split()) > 6 else BoundingBox.from_yolo_v5
    box = read(line, image_size=size)
    box.label = names[int(box.label)]
    return box


def _yolo_images(
    data: dict[str, Any], file: Path, images: Images, report: Report
) -> Iterable[Path]:
    base = Path(os.path.normpath(file.parent / str(data.get("path") or ".")))
    if not base.is_dir():
        base = file.parent
    entries: list[str] = []
    for part in ("train", "val", "test"):
        entry = data.get(part) or []
        entries += entry if isinstance(entry, list) else [entry]
    chosen: dict[Path, None] = {}
    for entry in entries:
        # Some tools write ../train/images for what lies beside the file itself.
        for start in (base / entry, base / entry.removeprefix("../")):
            start = Path(os.path.normpath(start))
            if start.is_dir():
                chosen |= dict.fromkeys(i for i in images.sizes if i.is_relative_to(start))
                break
            if start.is_file():
                for line in filter(str.strip, start.read_text("utf-8-sig").splitlines()):
                    try:
                        chosen[images.find(line.strip(), start.parent)] = None
                    except LookupError as error:
                        report(start, str(error))
                break
        else:
            # Often so: tools write all three parts, whichever were exported.
            report(file, f"{entry} is neither a folder nor a list of images")
    return chosen


def read_json(images: Images, report: Report) -> Found:
    """COCO and Create ML files, told apart by their content."""
    for file in _files(images.root, "*.json"):
        yield from read_json_file(file, images, report)


def read_json_file(file: Path, images: Known, report: Report) -> Found:
    """One COCO or Create ML file."""
    try:
        content = json.loads(file.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        report(file, f"not a JSON file: {error}")
        return
    if isinstance(content, dict) and {"images", "annotations", "categories"} <= set(content):
        reader = _coco
    elif isinstance(content, list) and content and all(map(_is_create_ml, content)):
        reader = _create_ml
    else:
        report(file, "neither COCO nor Create ML")
        return
    try:
        yield from reader(content, file, images, report)
    except BAD as error:
        what = reader.__name__[1:].replace("_", " ")
        report(file, f"cannot be read as {what}: {error!r}")


def _coco(content: Any, file: Path, images: Known, report: Report) -> Found:
    labels = {category["id"]: str(category["name"]) for category in content["categories"]}
    marked: dict[Any, tuple[Path, Marks]] = {}
    listed = {entry["id"] for entry in content["images"]}
    for entry in content["images"]:
        try:
            image = images.find(entry["file_name"], file.parent)
        except LookupError as error:
            report(file, str(error))
            continue
        stated = (entry.get("width"), entry.get("height"))
        if all(stated) and stated != images.sizes[image]:
            report(file, f"{image.name}: {_mismatch(stated, images.sizes[image])}")
            continue
        marked[entry["id"]] = (image, Marks(images.sizes[image]))
    strays = 0
    for annotation in content["annotations"]:
        strays += annotation["image_id"] not in listed
        if annotation["image_id"] in marked:
            marked[annotation["image_id"]][1].add(
                lambda a=annotation: BoundingBox.create(  # type: ignore[misc]
                    label=labels[a["category_id"]],
                    coords=tuple(map(float, a["bbox"])),
                    box_format=BoxFormat.LTWH,
                ),
                ignored=bool(annotation.get("iscrowd") or annotation.get("ignore")),
            )
    if strays:
        report(file, f"{strays} boxes are of images that it does not list")
    for image, marks in marked.values():
        yield image, file, marks


def _is_create_ml(entry: Any) -> bool:
    # `imagefilename` and `annotation` are the older spelling of the same.
    return isinstance(entry, dict) and (
        {"image", "annotations"} <= set(entry) or {"imagefilename", "annotation"} <= set(entry)
    )


def _create_ml(content: Any, file: Path, images: Known, report: Report) -> Found:
    for entry in content:
        try:
            image = images.find(entry.get("image", entry.get("imagefilename")), file.parent)
        except LookupError as error:
            report(file, str(error))
            continue
        marks = Marks(images.sizes[image])
        for annotation in entry.get("annotations", entry.get("annotation")):
            marks.add(
                lambda a=annotation: BoundingBox.create(  # type: ignore[misc]
                    label=str(a["label"]),
                    # Create ML's x and y are the middle of the box.
                    coords=tuple(float(a["coordinates"][k]) for k in ("x", "y", "width", "height")),
                    box_format=BoxFormat.XYWH,
                )
            )
        yield image, file, marks


def _mismatch(stated: tuple[Any, ...], size: tuple[int, int]) -> str:
    return f"made for {stated[0]}×{stated[1]} px, the image has {size[0]}×{size[1]}"


def _files(root: Path, pattern: str) -> list[Path]:
    return sorted(
        file
        for file in root.rglob(pattern)
        if file.is_file() and not any(p.startswith(".") for p in file.relative_to(root).parts)
    )
