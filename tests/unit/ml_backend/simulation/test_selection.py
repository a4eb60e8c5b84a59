"""Each strategy that trains nothing chooses from real detections of the starter."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_backend.active_learning.strategies.table import STRATEGIES
from ml_backend.dataset.example import Example
from ml_backend.demo.synthetic_images import generate_field
from ml_backend.imaging.decode import encode_png
from ml_backend.learners.model_file import FILE_NAME
from ml_backend.simulation.lab import Lab
from ml_backend.simulation.selection import choose_images

SERVED = [name for name, strategy in STRATEGIES.items() if "committee" not in strategy.needs]


@pytest.fixture(scope="module")
def lab(starter_versions: Path, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tmp_path_factory.mktemp("lab")
    pool = {}
    for number in range(8):
        pixels, boxes = generate_field(number, size=(500, 400), dividing=number % 2, scale=0.7)
        path = folder / f"{number}.png"
        path.write_bytes(encode_png(pixels))
        pool[path.name] = Example(path, "a", boxes)
    served = next(starter_versions.iterdir())
    classes = ("Mitotic cell", "Other")
    return Lab(pool, [], classes, served / FILE_NAME, served, None, 0, folder)


@pytest.mark.parametrize("name", SERVED)
def test_chooses_a_batch_of_what_waits(lab: Lab, name: str) -> None:
    reviewed = {key: example for key, example in lab.pool.items() if key < "3.png"}
    waiting = {key: example for key, example in lab.pool.items() if key not in reviewed}
    shown = choose_images(lab, STRATEGIES[name], lab.served, reviewed, waiting, 1, 3)
    assert len(shown) == 3 and shown.keys() <= waiting.keys()
    assert any(map(len, shown.values()))
    for boxes in shown.values():
        assert set(boxes.label) <= set(lab.classes)
        assert (boxes.confidence >= lab.read_threshold(lab.served)).all()
