"""Train the detectors that are shipped, from the data beside the project.

    uv run python scripts/train_starters.py [mitosis] [tetrads]

Writes NAME.safetensors, NAME.seen.json (what they were trained on: the ancestry of all
versions that start from them) and NAME.md (the card, with figures on what was held out)
into ml_backend/starters/.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.dataset.folder import read_folder
from ml_backend.evaluation.bootstrap import Figure
from ml_backend.evaluation.metrics import evaluate
from ml_backend.imaging.boxes import Boxes, compute_iou
from ml_backend.imaging.decode import decode
from ml_backend.label_studio.class_names import canonicalize
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.model_file import FILE_NAME
from ml_backend.learners.training_child import run_in_child
from ml_backend.learners.training_job import TrainingJob
from ml_backend.registry.starters import STARTERS
from ml_backend.registry.versions import hash_file
from ml_backend.system.atomic_files import replace_file, write_json

DATA = Path(__file__).parents[2] / "shared" / "data"
COCO = DATA / "weights" / "yolov5n_coco_fp16.npz"
CARDS = Path(__file__).parent / "starter_cards"
IMAGE_FIGURES = ("image_accuracy", "always_yes", "image_sensitivity", "image_specificity")
BOX_FIGURES = ("precision", "recall", "f1", "ap50", "ap50_95")
FLOOR = 0.01  # confidence from which boxes are kept for average precision

# Tests and benchmarks of learning use these samples, so the starter never sees them.
NEVER_SEEN = frozenset({"Os", "Asa", "Ta"})

FIELD = DATA / "tetrads" / "qrt_field.png"
MARKS = DATA / "tetrads" / "boxes.csv"
TETRADS = ("Tetrad", "Triad", "Dyad", "Monad")
HELD_FROM = 1440  # rows of the field below this one (a quarter) are held out
SHADED_TO = 160  # columns left of this one lie in the shade, unmarked
WINDOW = 512  # px; the field is trained on in windows that overlap by half
CELL = 8  # px; the grid in which unmarked pollen is ignored
TETRAD_EPOCHS = 120


def main() -> None:
    for name in sys.argv[1:] or ("mitosis", "tetrads"):
        {"mitosis": mitosis, "tetrads": tetrads}[name]()


def mitosis() -> None:
    found = read_folder(DATA / "plant_mitosis").examples
    labelled = [renamed(example) for example in found if example.boxes is not None]
    seen = [example for example in labelled if example.group not in NEVER_SEEN]
    held = [example for example in labelled if example.group in NEVER_SEEN]
    with tempfile.TemporaryDirectory() as folder:
        detector = trained(seen, ("Mitotic cell", "Other"), ("Mitotic cell",), Path(folder))
        drawn = list(detector.stream((decode(e.image) for e in held), FLOOR))
        # Intervals over images: three samples are too few to say how samples differ.
        apart = [replace(example, group=str(example.image)) for example in held]
        figures = evaluate(
            apart, drawn, threshold=detector.card.threshold, headline=detector.card.headline
        )
        keep("mitosis", Path(folder), [e.image for e in seen], {e.group for e in seen})
    cells = figures.classes["Mitotic cell"]
    write_card(
        "mitosis",
        seen=len(seen),
        samples=", ".join(sorted({example.group for example in seen})),
        images=figures.images,
        negatives=sum(example.image_label is False for example in held),
        threshold=figures.threshold,
        others_ap50=shown(figures.classes["Other"].ap50),
        **{name: shown(getattr(figures, name)) for name in IMAGE_FIGURES},
        **{name: shown(getattr(cells, name)) for name in BOX_FIGURES},
    )


def renamed(example: Example) -> Example:
    """The example with the classes' own names instead of the folder's."""
    boxes = example.boxes
    assert boxes is not None
    names = np.array([canonicalize(str(name)) for name in boxes.label], np.str_)
    return replace(example, boxes=Boxes(boxes.xyxy, names, boxes.confidence))


def tetrads() -> None:
    image = decode(FIELD)
    with MARKS.open(newline="", encoding="utf-8") as file:
        rows = [
            (float(r["xmin"]), float(r["ymin"]), float(r["xmax"]), float(r["ymax"]), r["label"])
            for r in csv.DictReader(file)
        ]
    marks = Boxes.from_rows(rows)
    marks = replace(marks, label=np.array([canonicalize(str(name)) for name in marks.label]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        above = marks.select(marks.xyxy[:, 3] <= HELD_FROM)
        examples = windows(image[:HELD_FROM], above, folder)
        detector = trained(
            examples, TETRADS, TETRADS, folder / "out", imgsz=WINDOW, epochs=TETRAD_EPOCHS
        )
        below = marks.select(marks.xyxy[:, 1] >= HELD_FROM)
        below = replace(below, xyxy=below.xyxy - np.array([0, HELD_FROM, 0, HELD_FROM]))
        [drawn] = detector.detect([image[HELD_FROM:]])
        lines = recalls(below, drawn)
        keep("tetrads", folder / "out", [FIELD], {"tetrads/qrt_field"})
    write_card(
        "tetrads",
        trained_on=len(above),
        held=len(below),
        drawn=len(drawn),
        threshold=detector.card.threshold,
        rows="\n".join(lines),
    )


def windows(image: np.ndarray, marks: Boxes, folder: Path) -> list[Example]:
    """Overlapping windows of the field as examples; unmarked pollen in them is ignored."""
    ignored = unmarked(image, marks.xyxy)
    examples = []
    for top in starts(image.shape[0]):
        for left in starts(image.shape[1]):
            path = folder / f"{top}-{left}.png"
            piece = image[top : top + WINDOW, left : left + WINDOW]
            cv2.imwrite(str(path), cv2.cvtColor(piece, cv2.COLOR_RGB2BGR))
            inside, whole = clipped(marks.xyxy, left, top)
            cut = (inside[:, 2:] > inside[:, :2]).all(axis=1) & ~whole
            patches, _ = clipped(ignored, left, top)
            patches = patches[(patches[:, 2:] > patches[:, :2]).all(axis=1)]
            examples.append(
                Example(
                    path,
                    "tetrads/qrt_field",
                    Boxes(inside[whole], marks.label[whole], marks.confidence[whole]),
                    np.concatenate([patches, inside[cut]]),
                )
            )
    return examples


def starts(length: int) -> Iterable[int]:
    """Where windows start that overlap by half and reach both ends."""
    number = int(np.ceil((length - WINDOW) / (WINDOW / 2))) + 1
    return (int(start) for start in np.linspace(0, length - WINDOW, number).round())


def clipped(xyxy: np.ndarray, left: int, top: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes in the coordinates of a window, and which of them it shows nearly whole."""
    moved = xyxy - np.array([left, top, left, top], np.float32)
    inside = np.clip(moved, 0, WINDOW)
    area, all_area = ((b[:, 2:] - b[:, :2]).clip(0).prod(axis=1) for b in (inside, moved))
    return inside, area >= 0.8 * all_area


def unmarked(image: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """Cells of a grid, (M, 4) px, that show pollen outside the marks, joined along rows."""
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 2)
    _, bright = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    bright[:, :SHADED_TO] = 1
    for x1, y1, x2, y2 in marks.astype(int):
        bright[max(y1 - 2, 0) : y2 + 2, max(x1 - 2, 0) : x2 + 2] = 0
    height, width = (side // CELL for side in bright.shape)
    cells = bright[: height * CELL, : width * CELL].reshape(height, CELL, width, CELL)
    pollen = cells.mean(axis=(1, 3)) > 0.2
    runs = []
    for row in range(height):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], pollen[row], [0]]).astype(int)))
        runs += [(a, row, b, row + 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return np.array(runs, np.float32).reshape(-1, 4) * CELL


def trained(
    examples: list[Example],
    classes: tuple[str, ...],
    headline: tuple[str, ...],
    out: Path,
    imgsz: int | None = None,
    epochs: int | None = None,
) -> Detector:
    def progress(line: dict[str, object]) -> None:
        print(json.dumps(line), flush=True)

    job = TrainingJob(examples, classes, headline, COCO, out, imgsz=imgsz, epochs=epochs)
    run_in_child(job, progress)
    return Detector.load(out)


def keep(name: str, folder: Path, images: Iterable[Path], groups: set[str]) -> None:
    with replace_file(STARTERS / f"{name}.safetensors") as temporary:
        shutil.copyfile(folder / FILE_NAME, temporary)
    seen = {"hashes": sorted(map(hash_file, images)), "groups": sorted(groups)}
    write_json(STARTERS / f"{name}.seen.json", seen)


def write_card(name: str, **values: object) -> None:
    text = (CARDS / f"{name}.md").read_text(encoding="utf-8").format(**values)
    with replace_file(STARTERS / f"{name}.md") as temporary:
        temporary.write_text(text, encoding="utf-8")


def shown(figure: Figure) -> str:
    if figure.value is None:
        return "not defined"
    spread = f" ({figure.interval[0]:.2f} to {figure.interval[1]:.2f})" if figure.interval else ""
    return f"{figure.value:.3f}{spread}"


def recalls(truth: Boxes, drawn: Boxes) -> list[str]:
    """Recall at IoU 0.5 of every class, and of the place alone, as rows of a table."""
    rows = []
    overlap = compute_iou(truth.xyxy, drawn.xyxy) if len(drawn) else np.zeros((len(truth), 0))
    placed = np.any(overlap >= 0.5, axis=1)
    alike = np.array([[a == b for b in drawn.label] for a in truth.label], bool)
    same = np.any((overlap >= 0.5) & alike.reshape(overlap.shape), axis=1)
    for name in TETRADS:
        mine = np.array([label == name for label in truth.label], bool)
        if mine.any():
            rows.append(
                f"| {name} | {mine.sum()} | {same[mine].mean():.2f} | {placed[mine].mean():.2f} |"
            )
    rows.append(f"| all | {len(truth)} | {same.mean():.2f} | {placed.mean():.2f} |")
    return rows


if __name__ == "__main__":
    main()
