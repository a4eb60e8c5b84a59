"""How well a click, or a loose box, becomes a fitted box: IoU with the true one.

    uv run python benchmarks/one_click.py
    uv run python benchmarks/one_click.py --model FOLDER --set phase

For every true object one click is drawn by lot inside its box, and one box that is 1.3 times as
wide and as high and lies around it by lot. plant: the samples Os, Asa and Ta, which the shipped
starter never saw, by it and by contrast alone. phase: dividing cells in phase contrast, which the
starter does not know; --model names the folder of a version that does. Beside them stands the
loose box as it was drawn.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.dataset.folder import read_folder
from ml_backend.imaging.boxes import compute_iou
from ml_backend.imaging.decode import decode
from ml_backend.label_studio.class_names import canonicalize
from ml_backend.label_studio.smart_tools import Prompt
from ml_backend.learners.base import ObjectDetector
from ml_backend.learners.kinds import load_detector
from ml_backend.registry.resolve import resolve_model
from ml_backend.registry.versions import Registry
from ml_backend.serving.one_click import FittedBox, fit_box

DATA = Path(__file__).parents[2] / "shared" / "data"
UNSEEN = ("Os", "Asa", "Ta")
LOOSE = 1.3


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--set", choices=("plant", "phase"), nargs="+", default=["plant", "phase"])
    options.add_argument("--model", type=Path, help="a version's folder; else the mitosis starter")
    asked = options.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the real images are not at {DATA}")
    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(Path(folder, "versions"), Path(folder, "champions"))
        place = asked.model
        if place is None:
            place = registry.get_folder(resolve_model("starter:mitosis", registry).name)
        detector = load_detector(place)
        for name in asked.set:
            examples = [e for e in read_set(name) if e.boxes is not None and len(e.boxes)]
            for title, model in (("detector", detector), ("contrast alone", None)):
                measure(name, title, examples, model)


def read_set(name: str) -> list[Example]:
    if name == "phase":
        return list(read_folder(DATA / "phase_contrast").examples)
    found = read_folder(DATA / "plant_mitosis").examples
    return [example for example in found if example.group in UNSEEN]


def measure(
    name: str, title: str, examples: list[Example], detector: ObjectDetector | None
) -> None:
    """Print the overlaps of one way to fit, by class."""
    rng = np.random.default_rng(0)
    rows: list[tuple[str, str, float, bool, bool]] = []
    seconds = []
    for example in examples:
        assert example.boxes is not None
        pixels = decode(example.image)
        size = pixels.shape[1], pixels.shape[0]
        for box, label in zip(example.boxes.xyxy.tolist(), example.boxes.label, strict=True):
            for kind, prompt in draw(box, size, rng):
                started = time.perf_counter()
                classes = detector.card.classes if detector else ()
                fitted = fit_box(prompt, pixels, detector, classes, example.pixel_size)
                seconds.append(time.perf_counter() - started)
                rows.append((str(label), kind, *judge(fitted, box, str(label))))
                if kind == "loose box":
                    rows.append((str(label), "as drawn", overlap(prompt.box, box), True, False))
    print(
        f"\n{name}, {title}: {len(examples)} images, "
        f"p50 {1000 * np.percentile(seconds, 50):.0f} ms, "
        f"p99 {1000 * np.percentile(seconds, 99):.0f} ms a fit (image decoded before)"
    )
    for label in sorted({row[0] for row in rows}):
        for kind in ("click", "loose box", "as drawn"):
            mine = [row for row in rows if row[:2] == (label, kind)]
            ious = np.array([row[2] for row in mine])
            named = [row[4] for row in mine if row[3]]
            print(
                f"  {label:14} {kind:10} {len(mine):4}: mean IoU {ious.mean():.3f}, median "
                f"{np.median(ious):.3f}, IoU >= 0.5 {np.mean(ious >= 0.5):.3f}, answered by the "
                f"detector {len(named) / len(mine):.3f}, its class right "
                f"{np.mean(named) if named else float('nan'):.3f}"
            )


def draw(
    box: list[float], size: tuple[int, int], rng: np.random.Generator
) -> list[tuple[str, Prompt]]:
    """A click and a loose box."""
    x1, y1, x2, y2 = box
    x, y = rng.uniform(x1, x2), rng.uniform(y1, y2)
    slack = (LOOSE - 1) * np.array([x2 - x1, y2 - y1])
    before = slack * rng.uniform(0, 1, 2)
    loose = (
        max(0.0, float(x1 - before[0])),
        max(0.0, float(y1 - before[1])),
        min(float(size[0]), float(x2 + slack[0] - before[0])),
        min(float(size[1]), float(y2 + slack[1] - before[1])),
    )
    return [("click", Prompt("c", (x, y, x, y), ())), ("loose box", Prompt("b", loose, ()))]


def judge(fitted: FittedBox | None, box: list[float], label: str) -> tuple[float, bool, bool]:
    """IoU, whether the detector answered, and whether its class is right."""
    if fitted is None:
        return 0.0, False, False
    right = canonicalize(fitted.name) == canonicalize(label)
    return overlap(fitted.box, box), bool(fitted.name), right


def overlap(first: tuple[float, ...], second: list[float]) -> float:
    return float(compute_iou(np.array([first], np.float64), np.array([second], np.float64))[0, 0])


if __name__ == "__main__":
    main()
