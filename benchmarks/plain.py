"""A plain fine-tune: what ultralytics alone makes of the same images.

YOLOv5n from COCO's tensors, 40 passes at 512 px, 8 images a step, AdamW at 0.001, images
mirrored both ways; the rest as ultralytics does it. This is what most people would try first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.dataset.folder import read_shown_size
from ml_backend.imaging.boxes import Boxes

SIDE, PASSES = 512, 40
HEAD = "model.24."  # stays random: it has other classes to tell


def lay_out(examples: Sequence[Example], classes: Sequence[str], folder: Path) -> Path:
    """The images with their boxes as ultralytics reads them; gives the file that says so."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for example in examples:
        assert example.boxes is not None
        width, height = read_shown_size(example.image)
        (folder / "images" / example.image.name).write_bytes(example.image.read_bytes())
        rows = [
            f"{classes.index(label)} {(x1 + x2) / 2 / width} {(y1 + y2) / 2 / height}"
            f" {(x2 - x1) / width} {(y2 - y1) / height}\n"
            for x1, y1, x2, y2, label, _ in example.boxes.to_rows()
        ]
        (folder / "labels" / f"{example.image.stem}.txt").write_text("".join(rows))
    data = {"path": str(folder), "train": "images", "val": "images", "names": list(classes)}
    described = folder / "data.yaml"
    described.write_text(json.dumps(data))  # JSON is YAML
    return described


def trainer(
    examples: Sequence[Example], classes: Sequence[str], folder: Path, **overrides: object
) -> Any:
    """ultralytics' own, on the CPU, for images that are laid into `folder`."""
    from ultralytics.data import utils
    from ultralytics.models.yolo.detect import DetectionTrainer
    from ultralytics.utils import callbacks

    # Letters for plots, of which there are none; they would be fetched. And who records runs.
    utils.check_font = lambda *_: None
    callbacks.add_integration_callbacks = lambda *_: None
    always = {
        "model": "yolov5n.yaml",
        "data": str(lay_out(examples, classes, folder)),
        "project": str(folder / "runs"),
        "device": "cpu",
        "val": False,
        "plots": False,
        "amp": False,
    }
    return DetectionTrainer(overrides=always | overrides)


class Plain:
    """A network fine-tuned from the tensors in `base`. folder: an empty one, for its files."""

    def __init__(
        self, examples: Sequence[Example], classes: Sequence[str], base: Path, folder: Path
    ) -> None:
        from ultralytics import YOLO

        from ml_backend.learners.detector import weights

        training = trainer(
            examples,
            classes,
            folder,
            imgsz=SIDE,
            epochs=PASSES,
            optimizer="AdamW",
            lr0=0.001,
            batch=8,
            flipud=0.5,
            fliplr=0.5,
        )
        network = weights.build_network("yolov5n", tuple(classes))
        own = network.state_dict()
        known = {
            name: tensor
            for name, tensor in weights.read_tensors(base).items()
            if name in own and own[name].shape == tensor.shape and not name.startswith(HEAD)
        }
        network.load_state_dict(known, strict=False)
        training.model = network
        training.train()
        self._classes = np.array(classes, np.str_)
        self._model: Any = YOLO(training.last)

    def predict(self, images: Iterable[np.ndarray], floor: float) -> list[Boxes]:
        """Of (H, W, 3) RGB images the boxes from a confidence of `floor` on, px."""
        drawn = []
        for image in images:
            flipped = np.ascontiguousarray(image[..., ::-1])
            (result,) = self._model.predict(flipped, imgsz=SIDE, conf=floor, verbose=False)
            found = result.boxes.cpu().numpy()
            label = self._classes[found.cls.astype(int)]
            drawn.append(Boxes(found.xyxy.astype(float), label, found.conf))
        return drawn
