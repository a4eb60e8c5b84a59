"""A project's labeling config: its labels and choices, and regions to and from boxes.

The config is read with the standard library: the SDK's LabelInterface takes over a second
to import, in a server that must answer /setup at once. Tests compare the two.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Generic, TypeVar
from xml.etree import ElementTree

from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.class_names import canonicalize, choose_headline, fold
from ml_backend.system.markup import parse_xml
from ml_backend.system.numbers import parse_number

# Of a labeling config. A choice among more labels than these is none that a person can make.
MOST_CHARACTERS = 1_000_000
MOST_TAGS = 5_000
MOST_LABELS = 2_000  # of all rectangles, where each Rectangle has the labels of each Labels
LONGEST_LABEL = 1_000

# The tools whose clicks and boxes the backend answers.
SMART_TAGS = ("RectangleLabels", "Rectangle", "KeyPointLabels", "KeyPoint")

# The editor rounds: a side this many pixels outside the image lies on its edge.
BEYOND = 0.5


@dataclass(frozen=True)
class Label:
    """A label of a control.

    Attributes:
        value: As regions carry it: the alias, where there is one.
        names: All names that it has in the config.
        predicted: Classes that its `predicted_values` assigns to it.
    """

    value: str
    names: tuple[str, ...]
    predicted: tuple[str, ...]


@dataclass(frozen=True)
class RectangleControl:
    """A control that draws rectangles: RectangleLabels, or Rectangle together with Labels.

    Attributes:
        name: Of the tag that holds the shape.
        labels_name: Of the tag that holds the label; the same for RectangleLabels.
        image: The Image's name.
        labels: What a rectangle can be.
    """

    name: str
    labels_name: str
    image: str
    labels: tuple[Label, ...]


@dataclass(frozen=True)
class ChoicesControl:
    """A Choices control over an image, or over each region of it.

    Attributes:
        name: The control's name.
        image: The Image's name.
        labels: What can be chosen.
        per_region: The choice is about a region, not about the whole image.
        several: More than one may be chosen.
        only_for: The labels of the regions that it is asked of; () for all.
    """

    name: str
    image: str
    labels: tuple[Label, ...]
    per_region: bool = False
    several: bool = False
    only_for: tuple[str, ...] = ()


ControlT = TypeVar("ControlT", RectangleControl, ChoicesControl)


@dataclass(frozen=True)
class ClassMatching(Generic[ControlT]):
    """Where the classes of a model are drawn.

    Attributes:
        mapping: A class → the control and the label value that draw it.
        unmatched: The classes without a label, which cannot be drawn.
    """

    mapping: dict[str, tuple[ControlT, str]]
    unmatched: tuple[str, ...]


@dataclass(frozen=True)
class Region:
    """A rectangle that somebody drew.

    Attributes:
        id: Label Studio's, unique in its annotation.
        xyxy: Left, top, right, bottom in pixels of the image as shown, inside it.
        labels: Its labels, as the config writes them.
        choices: What was chosen for it.
    """

    id: str
    xyxy: tuple[float, float, float, float]
    labels: tuple[str, ...]
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelingConfig:
    """The controls of a labeling config that are about one image.

    Attributes:
        image_key: The field of a task's data that holds the image; "" without such a control.
        controls: Those that draw rectangles.
        choices: Those that choose classes, for the image or for each region.
        smart: A tool of it asks the backend at every click or box.
    """

    image_key: str
    controls: tuple[RectangleControl, ...]
    choices: tuple[ChoicesControl, ...] = ()
    smart: bool = False

    @classmethod
    def parse(cls, label_config: str) -> LabelingConfig:
        """Read a project's XML: RectangleLabels, Rectangle together with Labels, Choices.

        Where controls are on several images, those on the first image are taken; rectangles come
        first.

        Raises:
            ValueError: It is not XML.
        """
        try:
            root = parse_xml(label_config, MOST_CHARACTERS, MOST_TAGS)
        except ValueError as error:
            raise ValueError(f"the labeling config cannot be used: {error}") from error
        images = {
            tag.get("name", ""): tag.get("value", "").lstrip("$")
            for tag in root.iter("Image")
            if tag.get("value")
        }
        named = [(tag.get("name", ""), _labels(tag), _targets(tag)) for tag in root.iter("Labels")]
        controls: list[RectangleControl] = []
        for tag in root.iter():
            image = next((name for name in _targets(tag) if name in images), None)
            if image is None:
                continue
            if tag.tag == "RectangleLabels":
                name = tag.get("name", "")
                controls.append(RectangleControl(name, name, image, _labels(tag)))
            elif tag.tag == "Rectangle":
                controls += [
                    RectangleControl(tag.get("name", ""), name, image, labels)
                    for name, labels, targets in named
                    if image in targets
                ]
            _check_number(sum(len(control.labels) for control in controls))
        choices = [
            ChoicesControl(
                name=tag.get("name", ""),
                image=image,
                labels=_labels(tag, "Choice"),
                per_region=tag.get("perRegion", "").lower() == "true",
                several=tag.get("choice", "").lower() == "multiple",
                only_for=tuple(filter(None, tag.get("whenLabelValue", "").split(","))),
            )
            for tag in root.iter("Choices")
            for image in _targets(tag)[:1]
            if image in images
        ]
        _check_number(sum(len(control.labels) for control in choices))
        everything: tuple[RectangleControl | ChoicesControl, ...] = (*controls, *choices)
        shown = everything[0].image if everything else ""
        return cls(
            images.get(shown, ""),
            tuple(control for control in controls if control.image == shown),
            tuple(control for control in choices if control.image == shown),
            any(_is_smart(tag) and shown in _targets(tag) for tag in root.iter()),
        )

    @cached_property
    def values(self) -> tuple[str, ...]:
        """All labels of rectangles, in the order of the config."""
        return tuple(dict.fromkeys(label.value for c in self.controls for label in c.labels))

    @cached_property
    def image_choices(self) -> tuple[ChoicesControl, ...]:
        """The controls that choose for the whole image."""
        return tuple(control for control in self.choices if not control.per_region)

    @cached_property
    def choice_values(self) -> tuple[str, ...]:
        """All classes that can be chosen for the whole image, in the order of the config."""
        return tuple(dict.fromkeys(label.value for c in self.image_choices for label in c.labels))

    @cached_property
    def region_choices(self) -> tuple[ChoicesControl, ...]:
        """The controls that choose for each rectangle."""
        return tuple(control for control in self.choices if control.per_region)

    @cached_property
    def region_choice_values(self) -> tuple[str, ...]:
        """All classes that can be chosen for a rectangle, in the order of the config."""
        return tuple(dict.fromkeys(label.value for c in self.region_choices for label in c.labels))

    @cached_property
    def box_names(self) -> tuple[str, ...]:
        """All that a rectangle can be called: its labels, then what can be chosen of it."""
        return tuple(dict.fromkeys((*self.values, *self.region_choice_values)))

    def match_classes(self, classes: Iterable[str]) -> ClassMatching[RectangleControl]:
        """Find the rectangle label that draws each class of a detector.

        First what `predicted_values` says, then the label of that name whatever its case,
        then a label that means the same (`canonicalize`).
        """
        return _match(self.controls, classes)

    def match_choices(self, classes: Iterable[str]) -> ClassMatching[ChoicesControl]:
        """Find the choice for the whole image that says each class, as `match_classes` does."""
        return _match(self.image_choices, classes)

    def match_region_choices(self, classes: Iterable[str]) -> ClassMatching[ChoicesControl]:
        """Find the choice for a rectangle that says each class, as `match_classes` does."""
        return _match(self.region_choices, classes)

    def get_label_of(self, control: ChoicesControl) -> str:
        """Return the label of the rectangles that something is chosen of, "" without any."""
        return next(iter((*control.only_for, *choose_headline(self.values), *self.values)), "")

    def match_box_names(
        self, names: Iterable[str]
    ) -> tuple[ClassMatching[RectangleControl], ClassMatching[ChoicesControl]]:
        """Find what draws a box that is called so: its label, and the choice where it names one.

        Args:
            names: What boxes are called, see `call_by_choice`.

        Returns:
            The label of each name, and the choice of those that are no label themselves.
        """
        as_labels = self.match_classes(names)
        choices = self.match_region_choices(as_labels.unmatched)
        labels = {
            name: self.get_label_of(control) for name, (control, _) in choices.mapping.items()
        }
        asked = self.match_classes(labels.values()).mapping
        mapping = {name: asked[label] for name, label in labels.items() if label in asked}
        unmatched = tuple(name for name in as_labels.unmatched if name not in mapping)
        return ClassMatching({**as_labels.mapping, **mapping}, unmatched), choices

    def write_choices(
        self, chosen: Mapping[str, float], *, matching: ClassMatching[ChoicesControl], version: str
    ) -> list[dict[str, Any]]:
        """Write chosen classes as the `result` of a prediction.

        Args:
            chosen: The classes of an image, each with its probability, 0..1.
            matching: See `match_choices`; classes without a choice are left out.
            version: The version that chose them; the ids of the items depend on it.
        """
        return [
            {
                "id": _make_id(f"{version}/{control.name}/{sorted(values)}"),
                "type": "choices",
                "from_name": control.name,
                "to_name": control.image,
                "value": {"choices": list(values)},
                "score": round(min(values.values()), 4),
            }
            for control, values in _sort_by_control(chosen, matching).items()
        ]

    def read_choices(self, result: Sequence[dict[str, Any]]) -> tuple[str, ...] | None:
        """Read what an annotation chose for the whole image; None where it chose nothing."""
        sources = {control.name for control in self.image_choices}
        chosen = [
            str(name)
            for item in list_items(result)
            if str(item.get("from_name")) in sources and isinstance(item.get("value"), dict)
            for name in _listed(item["value"], "choices")
        ]
        known = [name for name in dict.fromkeys(chosen) if name in self.choice_values]
        return tuple(known) or None

    def write_regions(
        self,
        boxes: Boxes,
        *,
        width: int,
        height: int,
        matching: ClassMatching[RectangleControl],
        version: str,
        chosen: Sequence[Mapping[str, float]] = (),
        choice_matching: ClassMatching[ChoicesControl] | None = None,
    ) -> list[dict[str, Any]]:
        """Write boxes as the `result` of a prediction.

        Ids are the same for the same boxes of the same version, so that a repeated answer is the
        same answer. Boxes whose class has no label, or that have no area inside the image, are left
        out.

        Args:
            boxes: In pixels.
            width: Of the image, px.
            height: Of the image, px.
            matching: See `match_classes`.
            version: The version that found them.
            chosen: The classes that were chosen of each box, each with its probability, 0..1.
            choice_matching: See `match_region_choices`; classes without a choice are left out.

        Returns:
            Regions in percent of the image, each with its score; the choices of a region follow
            it and have its id, by which the editor joins them.
        """
        regions: list[dict[str, Any]] = []
        for number, (x1, y1, x2, y2, name, confidence) in enumerate(boxes.to_rows()):
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
                "id": _make_id(key),
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
                {**region, "type": kind, "from_name": source, "value": {**shape, **said}}
                for kind, source, said in parts
            ]
            if chosen and choice_matching:
                regions += [
                    {
                        **region,
                        "type": "choices",
                        "from_name": control.name,
                        "value": {**shape, "choices": list(values)},
                        "score": round(min(values.values()), 4),
                    }
                    for control, values in _sort_by_control(chosen[number], choice_matching).items()
                ]
        return regions

    def read_boxes(
        self, result: Sequence[dict[str, Any]], width: int, height: int
    ) -> tuple[Boxes, list[str]]:
        """Read the boxes of an annotation; see `read_regions`.

        A region with several labels becomes a box for each of them.

        Returns:
            The boxes in pixels, and the problems in words.
        """
        regions, problems = self.read_regions(result, width, height)
        return Boxes.from_rows(
            (*region.xyxy, name) for region in regions for name in region.labels
        ), problems

    def read_regions(
        self, result: Sequence[dict[str, Any]], width: int, height: int
    ) -> tuple[list[Region], list[str]]:
        """Read the rectangles of an annotation.

        A rotated rectangle becomes the box around it; what reaches beyond the image is clipped.

        Args:
            result: Of an annotation or a prediction, as Label Studio writes it.
            width: Of the image as shown, px.
            height: Likewise.

        Returns:
            The regions, and in words what could not be taken over as it is.
        """
        sources = {name for c in self.controls for name in (c.name, c.labels_name)}
        choosing = {control.name for control in self.choices}
        choosable = set(self.region_choice_values)
        shapes: dict[str, dict[str, Any]] = {}
        chosen: dict[str, list[str]] = {}
        choices: dict[str, list[str]] = {}
        others: Counter[str] = Counter()
        for number, item in enumerate(list_items(result)):
            kind, value = str(item.get("type")), item.get("value")
            region, source = str(item.get("id") or f"number {number + 1}"), item.get("from_name")
            if str(source) in choosing and isinstance(value, dict):
                choices.setdefault(region, []).extend(_listed(value, "choices"))
            elif str(source) not in sources or not isinstance(value, dict):
                others[kind] += 1
            else:
                shapes.setdefault(region, {}).update(value)
                chosen.setdefault(region, []).extend(_listed(value, kind))
        problems = [f"{count} × {kind}: not a rectangle" for kind, count in others.items()]
        regions = []
        for region, shape in shapes.items():
            try:
                corners = _around(shape, width, height)
            except ValueError:
                problems.append(f"region {region} has no readable place and size")
                continue
            inside = _clip(*corners, width, height)
            if inside is None:
                problems.append(f"region {region} has no area inside the image")
                continue
            if turned := (parse_number(shape.get("rotation")) or 0.0) % 360:
                problems.append(f"region {region} is turned by {turned:g}°: only the box around it")
            if max(abs(a - b) for a, b in zip(corners, inside, strict=True)) > BEYOND:
                problems.append(f"region {region} reaches beyond the image: only what lies inside")
            names = dict.fromkeys(chosen[region])
            if not names:
                problems.append(f"region {region} has no label")
            problems += [
                f"region {region}: the config has no label {name}"
                for name in names
                if name not in self.values
            ]
            picked = dict.fromkeys(choices.get(region, ()))
            problems += [
                f"region {region}: the config has no choice {name}"
                for name in picked
                if name not in choosable
            ]
            known = tuple(name for name in names if name in self.values)
            chosen_of = tuple(name for name in picked if name in choosable)
            regions.append(Region(region, inside, known, chosen_of))
        return regions, problems


@lru_cache(maxsize=64)
def parse_labels(label_config: str) -> LabelingConfig:
    """Read a labeling config as `LabelingConfig.parse` does, once for each text."""
    return LabelingConfig.parse(label_config)


def _match(controls: Sequence[ControlT], classes: Iterable[str]) -> ClassMatching[ControlT]:
    known = [(control, label) for control in controls for label in control.labels]
    mapping: dict[str, tuple[ControlT, str]] = {}
    unmatched = []
    for name in classes:
        folded, meant = fold(name), canonicalize(name)
        ranked = (
            [found for found in known if folded in map(fold, found[1].predicted)]
            + [found for found in known if folded in map(fold, found[1].names)]
            + [found for found in known if meant in map(canonicalize, found[1].names)]
        )
        if ranked:
            mapping[name] = (ranked[0][0], ranked[0][1].value)
        else:
            unmatched.append(name)
    return ClassMatching(mapping, tuple(unmatched))


def _sort_by_control(
    chosen: Mapping[str, float], matching: ClassMatching[ChoicesControl]
) -> dict[ChoicesControl, dict[str, float]]:
    """Sort chosen classes by the control that says them: its values, each with its probability."""
    by_control: dict[ChoicesControl, dict[str, float]] = {}
    for name, probability in chosen.items():
        if name in matching.mapping:
            control, value = matching.mapping[name]
            by_control.setdefault(control, {})[value] = probability
    return by_control


def _make_id(key: str) -> str:
    """Make the id of a region from its content, so that a repeated answer is the same."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:10]


def list_items(result: Any) -> list[dict[str, Any]]:
    """List the items of a `result`; whatever an API client stored that is none is left out."""
    items = result if isinstance(result, list | tuple) else ()
    return [item for item in items if isinstance(item, dict)]


def _listed(value: dict[str, Any], key: str) -> list[str]:
    """List the names under a key of a region's value; none where it is not a list."""
    names = value.get(key)
    return [str(name) for name in names] if isinstance(names, list) else []


def _check_number(labels: int) -> None:
    if labels > MOST_LABELS:
        raise ValueError(
            f"the labeling config cannot be used: it has {labels} labels, and {MOST_LABELS} can "
            "be read"
        )


def _is_smart(tag: ElementTree.Element) -> bool:
    flags = (tag.get("smart", ""), tag.get("smartOnly", ""))
    return tag.tag in SMART_TAGS and "true" in map(str.lower, flags)


def _targets(tag: ElementTree.Element) -> list[str]:
    return [name.strip() for name in tag.get("toName", "").split(",")]


def _labels(tag: ElementTree.Element, kind: str = "Label") -> tuple[Label, ...]:
    found = []
    for label in tag.iter(kind):
        alias, value = label.get("alias", ""), label.get("value", "")
        if names := tuple(name for name in (alias, value) if name):
            predicted = label.get("predicted_values", "").split(",")
            if max(map(len, names)) > LONGEST_LABEL:
                raise ValueError(
                    f"the labeling config cannot be used: a label of it has more than "
                    f"{LONGEST_LABEL} characters"
                )
            found.append(Label(names[0], names, tuple(filter(None, map(str.strip, predicted)))))
    return tuple(found)


def _around(shape: dict[str, Any], width: int, height: int) -> tuple[float, float, float, float]:
    """The box in pixels around a region, which Label Studio turns about its top left corner.

    Turned in pixels, clockwise, in degrees: in percent, a turn would also skew it.

    Raises:
        ValueError: A number in it is none.
    """
    place = [parse_number(shape.get(key)) for key in ("x", "y", "width", "height")]
    turned = parse_number(shape.get("rotation") or 0)
    if None in place or turned is None:
        raise ValueError("a place, a size or a rotation is no number")
    x, y, w, h = (
        (share or 0.0) / 100 * side
        for share, side in zip(place, (width, height, width, height), strict=True)
    )
    angle = math.radians(turned)
    cos, sin = math.cos(angle), math.sin(angle)
    xs = (x, x + w * cos, x - h * sin, x + w * cos - h * sin)
    ys = (y, y + w * sin, y + h * cos, y + w * sin + h * cos)
    return min(xs), min(ys), max(xs), max(ys)


def _clip(
    x1: float, y1: float, x2: float, y2: float, width: int, height: int
) -> tuple[float, float, float, float] | None:
    """Clip a box to the image; None when less than a hundredth of a pixel is left."""
    x1, x2 = (min(max(x, 0.0), float(width)) for x in (x1, x2))
    y1, y2 = (min(max(y, 0.0), float(height)) for y in (y1, y2))
    return (x1, y1, x2, y2) if x2 - x1 > 0.01 and y2 - y1 > 0.01 else None
