"""The file of a detector: safetensors with what serving must know in its header, no pickle."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

FILE_NAME = "weights.safetensors"
# The same network for OpenVINO, in the same folder.
IR_FILES = ("model.xml", "model.bin")

# A name, never a path: what a file says of itself must not choose which other file is read.
_ARCHITECTURE = re.compile(r"[a-z0-9]{1,40}")


@dataclass(frozen=True)
class ModelCard:
    """What a detector's file says of itself.

    architecture: an ultralytics model name such as "yolov5n".
    classes: names in the order of the head's outputs.
    headline: the classes that the project is about, as against clutter.
    scale: input pixels per image pixel at which it was trained; serving resamples to it.
    threshold: the confidence from which a box is shown and counted.
    nms_iou: two boxes of one class that overlap more are one object.
    input_um: µm that an input pixel shows at this scale, in the median training image; None
        where the pixel size of most of them was not known.
    """

    architecture: str
    classes: tuple[str, ...]
    headline: tuple[str, ...]
    scale: float
    threshold: float
    nms_iou: float = 0.6
    input_um: float | None = None

    def to_metadata(self) -> dict[str, str]:
        """As safetensors metadata: strings only."""
        return {"cytoloop": json.dumps(asdict(self), sort_keys=True)}

    @classmethod
    def from_metadata(cls, metadata: dict[str, str] | None, source: Path) -> ModelCard:
        """Raises ValueError when the file was not written by cytoloop."""
        try:
            fields = json.loads((metadata or {})["cytoloop"])
            fields["classes"] = tuple(fields["classes"])
            fields["headline"] = tuple(fields["headline"])
            card = cls(**fields)
            if not _ARCHITECTURE.fullmatch(card.architecture):
                raise TypeError("the architecture that it names is none")
            return card
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{source} is not a cytoloop model file: {error}") from error


def read_card(path: Path) -> ModelCard:
    """The card of a .safetensors file, without loading its tensors (or torch).

    Raises ValueError when the file was not written by cytoloop.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata()
    except SafetensorError as error:
        raise ValueError(f"{path} is not a cytoloop model file: {error}") from error
    return ModelCard.from_metadata(metadata, path)
