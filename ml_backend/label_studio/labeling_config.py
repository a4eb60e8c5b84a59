"""A project's labeling config ↔ classes; Label Studio's regions ↔ boxes; names ↔ one name.

The config is read with the standard library: the SDK's LabelInterface takes over a second
to import, in a server that must answer /setup at once. The tests hold the two together.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from xml.etree import ElementTree

from ml_backend.imaging.boxes import Boxes

# What people call the classes that the ready-made configs and starters know. Prometaphase
# counts as prophase: with five phases its chromosomes, condensed and not yet in a plate,
# are nearest to it. The two-letter codes are those of cell cycle tables (PF, PM, MF, ...).
_ALIASES = {
    "Mitotic cell": "chromosomes, chromosome, mitosis, mitoses, mitotic, mitotic cells, "
    "mitotic figure, mitotic figures, dividing cell, dividing cells, dividing",
    "Other": "others, other cell, other cells, debris, background, clutter, artefact, artifact, "
    "artefacts, artifacts, non mitotic, not mitotic, nonmitotic, not a cell, nc, negative, "
    "none, nothing, other: interphase nuclei and debris, interphase nuclei and debris",
    "Interphase": "interphase nucleus, interphase nuclei, interphase cell, interphase cells, "
    "g0, g1, g2",
    "Prophase": "prophases, prometaphase, pro metaphase, pf, pm",
    "Metaphase": "metaphases, metaphase plate, metaphase plates, mf",
    "Anaphase": "anaphases, af",
    "Telophase": "telophases, tf",
    "Tetrad": "tetrads",
    "Triad": "triads",
    "Dyad": "dyads",
    "Monad": "monads",
}
# The editor rounds: a side this many pixels outside the image lies on its edge.
BEYOND = 0.5

_CLUTTER = frozenset({"Other", "Interphase"})
STAGES = ("Prophase", "Metaphase", "Anaphase", "Telophase")


def _folded(name: str) -> str:
    return " ".join(name.replace("_", " ").replace("-", " ").casefold().split())


_CANONICAL = {
    _folded(alias): name
    for name, aliases in _ALIASES.items()
    for alias in (name, *aliases.split(", "))
}


def canonical(name: str) -> str:
    """The one name for a class: 'Chromosomes' is 'Mitotic cell'; an unknown name, folded.

    Two names mean the same class exactly when their canonical names are equal; case,
    hyphens, underscores and spaces around do not matter.
    """
    folded = _folded(name)
    return _CANONICAL.get(folded, folded)


def one_spelling(names: Iterable[str]) -> dict[str, str]:
    """How each of the names is written most often; names that differ in case, hyphens,
    underscores or spaces alone are one. names: each as often as it occurs.
    """
    counts = Counter(names)
    chosen: dict[str, str] = {}
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        chosen.setdefault(_folded(name), name)
    return {name: chosen[_folded(name)] for name in counts}


def is_clutter(name: str) -> bool:
    """Is it what a project is not about: other things, debris, interphase nuclei?"""
    return canonical(name) in _CLUTTER


def is_mitotic(name: str) -> bool:
    """Is it a dividing cell, of whatever stage?"""
    return canonical(name) in ("Mitotic cell", *STAGES)


def headline(classes: Iterable[str]) -> tuple[str, ...]:
    """The classes that a project is about, in their order: all but clutter."""
    return tuple(name for name in classes if not is_clutter(name))


@dataclass(frozen=True)
class Label:
    """value: as regions carry it (the alias where there is one). names: what else it answers
    to in the config. predicted: classes that `predicted_values` assigns to it."""

    value: str
    names: tuple[str, ...]
    predicted: tuple[str, ...]


@dataclass(frozen=True)
class Control:
    """A rectangle control. name: of the tag that holds the shape; labels_name: of the tag
    that holds the label (the same for RectangleLabels); image: the Image's name."""

    name: str
    labels_name: str
    image: str
    labels: tuple[Label, ...]


@dataclass(frozen=True)
class Matching:
    """mapping: a detector's class → the control and label value that draw it.
    unmatched: the classes without a label, which cannot be drawn."""

    mapping: dict[str, tuple[Control, str]]
    unmatched: tuple[str, ...]


@dataclass(frozen=True)
class Labels:
    """The rectangle controls of a labeling config that mark one image.

    image_key: the field of a task's data that holds the image; "" without such a control.
    """

    image_key: str
    controls: tuple[Control, ...]

    @classmethod
    def parse(cls, label_config: str) -> Labels:
        """From a project's XML. RectangleLabels, and Rectangle together with Labels.

        Of controls on several images, those on the first one count. A config without
        any rectangle control has no controls. Raises ValueError when it is not XML.
        """
        try:
            root = ElementTree.fromstring(label_config)
        except ElementTree.ParseError as error:
            raise ValueError(f"the labeling config is not valid XML: {error}") from error
        images = {
            tag.get("name", ""): tag.get("value", "").lstrip("$")
            for tag in root.iter("Image")
            if tag.get("value")
        }
        controls = []
        for tag in root.iter():
            image = next((name for name in _targets(tag) if name in images), None)
            if image is None:
                continue
            if tag.tag == "RectangleLabels":
                name = tag.get("name", "")
                controls.append(Control(name, name, image, _labels(tag)))
            elif tag.tag == "Rectangle":
                controls += [
                    Control(tag.get("name", ""), other.get("name", ""), image, _labels(other))
                    for other in root.iter("Labels")
                    if image in _targets(other)
                ]
        controls = [control for control in controls if control.image == controls[0].image]
        return cls(images[controls[0].image] if controls else "", tuple(controls))

    @cached_property
    def values(self) -> tuple[str, ...]:
        """All label values, in the order of the config."""
        return tuple(dict.fromkeys(label.value for c in self.controls for label in c.labels))

    def match(self, classes: Iterable[str]) -> Matching:
        """Where each class of a detector is drawn.

        First what `predicted_values` says, then the label of that name whatever its case,
        then a label that means the same (`canonical`).
        """
        known = [(control, label) for control in self.controls for label in control.labels]
        mapping: dict[str, tuple[Control, str]] = {}
        unmatched = []
        for name in classes:
            folded, meant = _folded(name), canonical(name)
            ranked = (
                [found for found in known if folded in map(_folded, found[1].predicted)]
                + [found for found in known if folded in map(_folded, found[1].names)]
                + [found for found in known if meant in map(canonical, found[1].names)]
            )
            if ranked:
                mapping[name] = (ranked[0][0], ranked[0][1].value)
            else:
                unmatched.append(name)
        return Matching(mapping, tuple(unmatched))

    def to_regions(
        self, boxes: Boxes, *, width: int, height: int, matching: Matching, version: str
    ) -> list[dict[str, Any]]:
        """Boxes (pixels of an image of width × height) as the `result` of a prediction.

        Percent of the image, each with its score. Ids are the same for the same boxes of
        the same version, so that a repeated answer is the same answer. Boxes whose class
        has no label, or that have no area inside the image, are left out.
        """
        regions: list[dict[str, Any]] = []
        for number, (x1, y1, x2, y2, name, confidence) in enumerate(boxes.rows()):
            inside = _clip(x1, y1, x2, y2, width, height)
            if name not in matching.mapping or inside is None:
                continue
            control, label = matching.mapping[name]
            x1, y1, x2, y2 = inside
            left, top = round(100 * x1 / width, 6), round(100 * y1 / height, 6)
            shape = {
                "x": left,
                "y": top,
                "width": min(round(100 * (x2 - x1) / width, 6), 100 - left),
                "height": min(round(100 * (y2 - y1) / height, 6), 100 - top),
                "rotation": 0,
            }
            key = f"{version}/{number}/{control.name}/{label}/{sorted(shape.items())}"
            region = {
                "id": hashlib.sha256(key.encode("utf-8")).hexdigest()[:10],
                "to_name": control.image,
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "score": round(confidence, 4),
            }
            if control.name == control.labels_name:
                parts = [("rectanglelabels", control.name, {"rectanglelabels": [label]})]
            else:  # the editor joins the two by their id
                parts = [
                    ("rectangle", control.name, {}),
                    ("labels", control.labels_name, {"labels": [label]}),
                ]
            regions += [
                {**region, "type": kind, "from_name": source, "value": {**shape, **chosen}}
                for kind, source, chosen in parts
            ]
        return regions

    def from_regions(
        self, result: Sequence[dict[str, Any]], width: int, height: int
    ) -> tuple[Boxes, list[str]]:
        """The boxes of an annotation's `result`, and in words what was not taken over as it is.

        width, height: of the image as shown, in pixels. A rotated rectangle becomes the
        box around it; what reaches beyond the image is clipped; a region with several
        labels is a box for each of them.
        """
        sources = {name for c in self.controls for name in (c.name, c.labels_name)}
        shapes: dict[str, dict[str, Any]] = {}
        chosen: dict[str, list[str]] = {}
        others: Counter[str] = Counter()
        problems: list[str] = []
        for number, item in enumerate(result):
            kind, value = str(item.get("type")), item.get("value")
            if item.get("from_name") not in sources or not isinstance(value, dict):
                others[kind] += 1
                continue
            region = str(item.get("id") or f"number {number + 1}")
            shapes.setdefault(region, {}).update(value)
            if isinstance(names := value.get(kind), list):
                chosen.setdefault(region, []).extend(map(str, names))
        problems += [f"{count} × {kind}: not a rectangle" for kind, count in others.items()]

        rows = []
        for region, shape in shapes.items():
            try:
                corners = _around(shape, width, height)
            except (KeyError, TypeError, ValueError):
                problems.append(f"region {region} has no readable place and size")
                continue
            inside = _clip(*corners, width, height)
            if inside is None:
                problems.append(f"region {region} has no area inside the image")
                continue
            if turned := float(shape.get("rotation") or 0) % 360:
                problems.append(f"region {region} is turned by {turned:g}°: only the box around it")
            if max(abs(a - b) for a, b in zip(corners, inside, strict=True)) > BEYOND:
                problems.append(f"region {region} reaches beyond the image: only what lies inside")
            if not chosen.get(region):
                problems.append(f"region {region} has no label")
            for name in dict.fromkeys(chosen.get(region, [])):
                if name in self.values:
                    rows.append((*inside, name))
                else:
                    problems.append(f"region {region}: the config has no label {name}")
        return Boxes.drawn(rows), problems


def _targets(tag: ElementTree.Element) -> list[str]:
    return [name.strip() for name in tag.get("toName", "").split(",")]


def _labels(tag: ElementTree.Element) -> tuple[Label, ...]:
    found = []
    for label in tag.iter("Label"):
        alias, value = label.get("alias", ""), label.get("value", "")
        if names := tuple(name for name in (alias, value) if name):
            predicted = label.get("predicted_values", "").split(",")
            found.append(Label(names[0], names, tuple(filter(None, map(str.strip, predicted)))))
    return tuple(found)


def _around(shape: dict[str, Any], width: int, height: int) -> tuple[float, float, float, float]:
    """The box in pixels around a region, which Label Studio turns about its top left corner.

    Turned in pixels, clockwise, in degrees: in percent, a turn would also skew it.
    """
    x, y, w, h = (
        float(shape[key]) / 100 * side
        for key, side in (("x", width), ("y", height), ("width", width), ("height", height))
    )
    angle = math.radians(float(shape.get("rotation") or 0))
    cos, sin = math.cos(angle), math.sin(angle)
    xs = (x, x + w * cos, x - h * sin, x + w * cos - h * sin)
    ys = (y, y + w * sin, y + h * cos, y + w * sin + h * cos)
    if not all(map(math.isfinite, (*xs, *ys))):
        raise ValueError("not finite")
    return min(xs), min(ys), max(xs), max(ys)


def _clip(
    x1: float, y1: float, x2: float, y2: float, width: int, height: int
) -> tuple[float, float, float, float] | None:
    """What of a box lies in the image; None when that is less than a hundredth of a pixel."""
    x1, x2 = (min(max(x, 0.0), float(width)) for x in (x1, x2))
    y1, y2 = (min(max(y, 0.0), float(height)) for y in (y1, y2))
    return (x1, y1, x2, y2) if x2 - x1 > 0.01 and y2 - y1 > 0.01 else None
