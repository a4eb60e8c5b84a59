"""The classifier by the product's own code, on real images that it did not learn from.

    uv run python benchmarks/classifier.py --set mitocheck --splits 2
    uv run python benchmarks/classifier.py --set by2
    uv run python benchmarks/classifier.py --set cohesion
    uv run python benchmarks/classifier.py --set plant

What a training is, is `learners.classifier.training.train`; what is judged is the OpenVINO file
that serves. Beside it, in the same run and on the same splits, stands always naming the most
frequent class.

mitocheck: single HeLa cells, whole plates held out. by2: tobacco nuclei, five folds. cohesion:
chromosomes cut out by their true boxes, one spread held out at a time. plant: whole images,
Chromosomes or Others, whole samples held out.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.dataset.folder import read_folder
from ml_backend.evaluation.classification import evaluate_choices
from ml_backend.imaging.crops import cut_square
from ml_backend.imaging.decode import decode, encode_png
from ml_backend.learners.classifier.inference import Classifier
from ml_backend.learners.classifier.training import train
from ml_backend.learners.training_job import TrainingJob
from ml_backend.promotion.predict_examples import predict_examples

DATA = Path(__file__).parents[2] / "shared" / "data"
STAGES = ("G0", "G1", "PF", "PM", "MF", "AF")  # of at least five cells


def read_mitocheck(scratch: Path) -> list[Example]:
    """Single cells with their class; the group is the plate."""
    folder = DATA / "mitocheck_cells"
    with (folder / "image_labels.csv").open(encoding="utf-8") as file:
        return [
            Example(find(folder, row["image"]), row["sample"], choices=(row["image_label"],))
            for row in csv.DictReader(file)
        ]


def find(folder: Path, name: str) -> Path:
    """Find an image that a table names, beside the table or in `images/`."""
    places = (folder / name, folder / "images" / name)
    return next(place for place in places if place.exists())


def read_by2(scratch: Path) -> list[Example]:
    """Nuclei with their stage; each is a group of its own."""
    folder = DATA / "by2_phases" / "data"
    examples = []
    for line in (folder / "classification.csv").read_text("utf-8").splitlines()[1:]:
        name, stage = line.strip().split(", ")
        stage = {"GO": "G0"}.get(stage, stage)
        if stage in STAGES:
            examples.append(Example(folder / name, name, choices=(stage,)))
    return examples


def read_cohesion(scratch: Path) -> list[Example]:
    """Chromosomes cut out of their spread; the group is the spread."""
    examples = []
    for spread in read_folder(DATA / "chromatid_cohesion").examples:
        assert spread.boxes is not None
        pixels = decode(spread.image)
        for number, (box, name) in enumerate(
            zip(spread.boxes.xyxy, spread.boxes.label, strict=True)
        ):
            path = scratch / f"{spread.image.stem}-{number}.png"
            path.write_bytes(encode_png(cut_square(pixels, box)))
            examples.append(Example(path, spread.image.stem, choices=(str(name),)))
    return examples


def read_plant(scratch: Path) -> list[Example]:
    """Whole images, Chromosomes or Others; the group is the sample."""
    folder = DATA / "plant_mitosis"
    with (folder / "image_labels.csv").open(encoding="utf-8") as file:
        return [
            Example(find(folder, row["image"]), row["sample"], choices=(row["image_label"],))
            for row in csv.DictReader(file)
        ]


SETS = {
    "mitocheck": read_mitocheck,
    "by2": read_by2,
    "cohesion": read_cohesion,
    "plant": read_plant,
}


def split(examples: Sequence[Example], name: str, seed: int) -> Iterator[np.ndarray]:
    """The held-out places of each split: a quarter of the groups, or each group, or five folds."""
    rng = np.random.default_rng(seed)
    groups = np.array([example.group for example in examples])
    unique = np.unique(groups)
    if name == "mitocheck":
        while True:
            yield np.flatnonzero(np.isin(groups, rng.permutation(unique)[: len(unique) // 4]))
    elif name == "by2":
        classes = np.array([example.choices[0] for example in examples if example.choices])
        fold = np.zeros(len(examples), int)
        for stage in STAGES:
            places = rng.permutation(np.flatnonzero(classes == stage))
            fold[places] = np.arange(len(places)) % 5
        yield from (np.flatnonzero(fold == number) for number in range(5))
    else:
        yield from (np.flatnonzero(groups == group) for group in unique)


def main() -> None:
    """Train and judge on the splits of one set."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--set", choices=SETS, default="mitocheck")
    options.add_argument("--splits", type=int, default=99, help="at most so many")
    options.add_argument("--seed", type=int, default=0, help="of the splits and the training")
    options.add_argument("--epochs", type=int, help="passes over the images; the recipe's else")
    asked = options.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the real images are not at {DATA}")
    with tempfile.TemporaryDirectory() as folder:
        examples = SETS[asked.set](Path(folder))
        classes = tuple(sorted({name for example in examples for name in example.choices or ()}))
        judged: list[Example] = []
        answers = []
        for number, held in enumerate(split(examples, asked.set, asked.seed)):
            if number == asked.splits:
                break
            rest = np.setdiff1d(np.arange(len(examples)), held)
            learned = [examples[place] for place in rest]
            job = TrainingJob(
                learned, classes, classes, None, Path(folder) / f"split-{number}",
                kind="classifier", epochs=asked.epochs, seed=asked.seed,
            )  # fmt: skip
            started, busy = time.perf_counter(), time.process_time()
            train(job, lambda step: None)
            seconds, cpu = time.perf_counter() - started, time.process_time() - busy
            model = Classifier.load(job.out)
            kept, found, _ = predict_examples(model, [examples[place] for place in held])
            judged += kept
            answers += found_choices(found)
            print(
                f"split {number}: {len(learned)} learned in {seconds:.0f} s ({cpu:.0f} of a core), "
                f"{dict(model.card.options)}; {summarize(kept, found_choices(found), classes)}",
                flush=True,
            )
        print(f"{asked.set}, all splits: {summarize(judged, answers, classes)}")


def found_choices(found: Sequence[object]) -> list[dict[str, float]]:
    """The probabilities of each prediction."""
    return [dict(prediction.choices) for prediction in found]  # type: ignore[attr-defined]


def summarize(
    examples: Sequence[Example], answers: Sequence[dict[str, float]], classes: Sequence[str]
) -> str:
    """The figures in one line, beside always naming the most frequent class."""
    truth = [example.choices or () for example in examples]
    groups = [example.group for example in examples]
    figures = evaluate_choices(truth, answers, groups, classes=classes).to_json()
    names = [name for row in truth for name in row]
    most = max(names.count(name) for name in set(names)) / len(names)
    shown = " ".join(
        f"{name} {figures[name]:.3f}"
        for name in ("accuracy", "balanced_accuracy", "f1", "calibration_error")
    )
    return f"{len(examples)} judged: {shown} (most frequent class: accuracy {most:.3f})"


if __name__ == "__main__":
    main()
