"""A model of choices that reads the truth off the pixels: how bright an image is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image

from ml_backend.learners.base import Picture, Prediction
from ml_backend.learners.model_file import CLASSIFIER, ModelCard


class Shades:
    """Calls images Chromosomes as probably as they are bright, and Others else."""

    def __init__(self, several: bool = False) -> None:
        classes = ("Chromosomes", "Others")
        options = {"several": several}
        self.card = ModelCard("shades", classes, classes, 1, 0.5, kind=CLASSIFIER, options=options)
        self.asked = 0

    def predict(
        self, pictures: Iterable[Picture], floor: float | None = None
    ) -> Iterator[Prediction]:
        for picture in pictures:
            self.asked += 1
            height, width = picture.pixels.shape[:2]
            bright = float(picture.pixels.mean()) / 255
            dark = 0.0 if self.card.options["several"] else 1 - bright
            yield Prediction((width, height), choices={"Chromosomes": bright, "Others": dark})


def paint(path: Path, shade: int, size: tuple[int, int] = (32, 24)) -> Path:
    """Write an even image, width × height px."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, shade).save(path)
    return path
