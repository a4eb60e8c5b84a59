"""The file of a model: safetensors with what serving must know in its header, no pickle."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ml_backend.evaluation.calibration import PlattScaling
from ml_backend.label_studio.class_names import canonicalize
from ml_backend.system.atomic_files import replace_file
from ml_backend.system.numbers import parse_number

FILE_NAME = "weights.safetensors"
# The same network for OpenVINO, in the same folder.
IR_FILES = ("model.xml", "model.bin")

# The kind of a file that names none.
DETECTOR = "detector"
CLASSIFIER = "classifier"
REGION_CLASSIFIER = "region_classifier"
DETECTOR_CLASSIFIER = "detector_classifier"

# A name, never a path: what a file says of itself must not choose which other file is read.
_ARCHITECTURE = re.compile(r"[a-z0-9_]{1,60}")

# What its numbers can be: one out of range would be a division by zero, or memory without end.
_RANGES = (
    ("scale", 1e-3, 1e3),
    ("threshold", 0.0, 1.0),
    ("nms_iou", 0.0, 1.0),
    ("input_um", 1e-6, 1e6),
)


@dataclass(frozen=True)
class ModelCard:
    """What a model's file tells about the model.

    Attributes:
        architecture: The network's name, such as "yolov5n".
        classes: Names in the order of the network's outputs.
        headline: The classes that the project is about, as against clutter.
        scale: Input pixels for each image pixel at which it was trained.
        threshold: The confidence from which an answer is shown and counted, 0..1.
        nms_iou: Two boxes of one class with a greater IoU are one object.
        input_um: µm that an input pixel shows at this scale, in the median training image; None
            where the pixel size of most of them was not known.
        kind: The learner that made it; files without one are detectors.
        options: What the learner keeps for itself.
        calibration: What the network's confidences go through before anybody sees them; None
            where too little was known to fit one. The threshold is of what comes out.
    """

    architecture: str
    classes: tuple[str, ...]
    headline: tuple[str, ...]
    scale: float
    threshold: float
    nms_iou: float = 0.6
    input_um: float | None = None
    kind: str = DETECTOR
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    calibration: PlattScaling | None = None

    def knows_all(self, classes: Iterable[str]) -> bool:
        """Tell whether the model tells all these classes apart, however they are spelled."""
        return set(map(canonicalize, self.classes)) >= set(map(canonicalize, classes))

    def to_metadata(self) -> dict[str, str]:
        """Give the card as safetensors metadata: strings only."""
        fields = asdict(self)
        if self.kind == DETECTOR:  # as release 0.1.0 wrote them, so that it reads them too
            del fields["kind"], fields["options"]
        if self.calibration is None:
            del fields["calibration"]
        return {"cytoloop": json.dumps(fields, sort_keys=True)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str] | None, source: Path) -> ModelCard:
        """Read a card from safetensors metadata.

        Args:
            metadata: As `to_metadata` gave it.
            source: The file, for messages.

        Raises:
            ValueError: The file was not written by cytoloop.
        """
        try:
            fields = json.loads((metadata or {})["cytoloop"])
            fields["classes"] = tuple(fields["classes"])
            fields["headline"] = tuple(fields["headline"])
            if fields.get("calibration") is not None:
                fields["calibration"] = _read_calibration(fields["calibration"])
            card = cls(**fields)
            if not _ARCHITECTURE.fullmatch(card.architecture):
                raise TypeError("the architecture that it names is none")
            for name, low, high in _RANGES:
                value = getattr(card, name)
                if name == "input_um" and value is None:
                    continue
                if isinstance(value, str) or parse_number(value, low, high) is None:
                    raise TypeError(f"its {name} is no number from {low:g} to {high:g}")
            if not all(isinstance(name, str) for name in (*card.classes, *card.headline)):
                raise TypeError("a class has no name")
            return card
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"{source} is not a cytoloop model file: {error}") from error


def _read_calibration(value: Mapping[str, Any]) -> PlattScaling:
    slope, offset = (
        parse_number(value["slope"], 1e-3, 1e3),
        parse_number(value["offset"], -1e3, 1e3),
    )
    if slope is None or offset is None:
        raise TypeError("its calibration is none")
    return PlattScaling(slope, offset)


def rewrite_card(path: Path, card: ModelCard) -> None:
    """Write another card into a .safetensors file; its tensors stay as they are.

    Raises:
        ValueError: The file was not written by cytoloop.
    """
    from safetensors.numpy import load_file, save_file

    read_card(path)
    tensors = load_file(path)
    with replace_file(path) as temporary:
        save_file(tensors, temporary, metadata=card.to_metadata())


def drop_tensors(path: Path) -> None:
    """Leave of a .safetensors file its card alone, in one move.

    Raises:
        ValueError: The file was not written by cytoloop.
    """
    from safetensors.numpy import save_file

    card = read_card(path)
    with replace_file(path) as temporary:
        save_file({}, temporary, metadata=card.to_metadata())


def has_tensors(path: Path) -> bool:
    """Tell whether a .safetensors file holds more than a card; False where it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            return bool(file.keys())
    except SafetensorError:
        return False


def read_card(path: Path) -> ModelCard:
    """Read the card of a .safetensors file, without loading its tensors (or torch).

    Raises:
        ValueError: The file was not written by cytoloop.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata()
    except SafetensorError as error:
        raise ValueError(f"{path} is not a cytoloop model file: {error}") from error
    return ModelCard.from_metadata(metadata, path)
