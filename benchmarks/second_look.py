"""How much of labels that were damaged on purpose the first fifth of a second look holds.

    uv run python benchmarks/second_look.py --dataset ../shared/data/plant_mitosis [--images 40]

One label in ten is damaged: a third each is moved by half of its size, gets another class, or is
deleted (at the place of a deleted one the second look should find something overlooked). Models of
two folds learn from the damaged labels and answer for the others, as `cytoloop second-look
--dataset` does. Of the list, worst first, as many entries are looked at as a fifth of the labels;
a damaged label counts as found where an entry lies on it. Images that the base has seen are left
out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.dataset.folder import read_folder
from ml_backend.evaluation.label_quality.label_issues import LabelIssue
from ml_backend.imaging.boxes import Boxes, compute_iou
from ml_backend.label_studio.class_names import canonicalize
from ml_backend.learners.base import Prediction
from ml_backend.learners.kinds import find_learner, load_model
from ml_backend.promotion.predict_examples import predict_examples
from ml_backend.promotion.second_look import find_doubtful
from ml_backend.registry import resolve
from ml_backend.registry.versions import Registry
from ml_backend.retraining.out_of_fold import predict_out_of_fold
from ml_backend.system.plain_files import hash_file

SHARE = 0.1
KINDS = ("moved", "swapped", "deleted")


@dataclass(frozen=True)
class Damage:
    """What was done to one label: where the object truly is, and where the label is now."""

    image: int
    kind: str
    true: tuple[float, ...]
    now: tuple[float, ...]


def damage_labels(
    examples: list[Example], classes: tuple[str, ...], rng: np.random.Generator
) -> tuple[list[Example], list[Damage]]:
    """Damage one label in ten of the examples; the kinds take turns."""
    places = [(i, j) for i, e in enumerate(examples) for j in range(len(e.boxes or ()))]
    chosen = rng.permutation(len(places))[: round(SHARE * len(places))]
    rows = [[list(row[:5]) for row in (e.boxes or Boxes()).to_rows()] for e in examples]
    done = []
    gone: set[tuple[int, int]] = set()
    for turn, number in enumerate(chosen):
        image, box = places[number]
        row, kind = rows[image][box], KINDS[turn % 3]
        true = tuple(row[:4])
        if kind == "moved":
            angle, (w, h) = rng.uniform(0, 2 * np.pi), (row[2] - row[0], row[3] - row[1])
            dx, dy = 0.5 * w * np.cos(angle), 0.5 * h * np.sin(angle)
            row[:4] = [row[0] + dx, row[1] + dy, row[2] + dx, row[3] + dy]
        elif kind == "swapped":
            row[4] = rng.choice([name for name in classes if name != row[4]])
        else:
            gone.add((image, box))
        done.append(Damage(image, kind, true, tuple(row[:4])))
    damaged = [
        replace(
            example,
            boxes=Boxes.from_rows(tuple(r) for j, r in enumerate(rows[i]) if (i, j) not in gone),
        )
        for i, example in enumerate(examples)
    ]
    return damaged, done


def find_share(issues: list[tuple[int, LabelIssue]], done: list[Damage], looked: int) -> Counter:
    """Count by kind the damage on which one of the first `looked` issues lies."""
    found: Counter[str] = Counter()
    first = issues[:looked]
    for damage in done:
        places = np.array([damage.true, damage.now])
        for image, issue in first:
            box = issue.box or issue.suggested_box
            if image == damage.image and box and compute_iou(places, np.array([box])).max() >= 0.3:
                found[damage.kind] += 1
                break
    return found


def score_by_objectlab(
    answers: list[tuple[Example, Prediction]], threshold: float
) -> list[tuple[int, LabelIssue]]:
    """The same list by cleanlab's scores, with thresholds that such detectors reach."""
    from cleanlab.object_detection import rank

    names = sorted({name for example, _ in answers for name in example.boxes.label.tolist()})
    meant = {canonicalize(name): number for number, name in enumerate(names)}
    labels, predictions, seen = [], [], []
    for example, prediction in answers:
        given = np.array([names.index(name) for name in example.boxes.label], int)
        labels.append({"bboxes": example.boxes.xyxy.astype(float), "labels": given})
        boxes = prediction.boxes
        number = np.array([meant.get(canonicalize(name), -1) for name in boxes.label], int)
        by_class = np.empty(len(names), object)
        for place in range(len(names)):
            part = boxes.select(number == place)
            by_class[place] = np.column_stack([part.xyxy, part.confidence]).astype(float)
        predictions.append(by_class)
        seen.append(
            boxes.select(np.concatenate([np.flatnonzero(number == p) for p in meant.values()]))
        )
    known = {"labels": labels, "predictions": predictions}
    high = max(threshold, 0.5)
    placed = rank.compute_badloc_box_scores(**known, low_probability_threshold=threshold)
    named = rank.compute_swap_box_scores(**known, high_probability_threshold=high)
    missing = rank.compute_overlooked_box_scores(**known, high_probability_threshold=high)
    found = []
    for image, (example, _) in enumerate(answers):
        for i, (*box, label, _) in enumerate(example.boxes.to_rows()):
            score = float(min(placed[image][i], named[image][i]))
            found.append((image, LabelIssue("badly placed", score, label, "", 0.0, tuple(box))))
        for j, (*box, name, p) in enumerate(seen[image].to_rows()):
            if not np.isnan(score := float(missing[image][j])):
                issue = LabelIssue("overlooked", score, "", name, p, None, tuple(box))
                found.append((image, issue))
    return sorted(found, key=lambda pair: pair[1].score)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--dataset", type=Path, required=True)
    arguments.add_argument("--base", default="starter:mitosis")
    arguments.add_argument("--model", help="It answers in place of models that are trained.")
    arguments.add_argument("--images", type=int, default=60)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--epochs", type=int)
    arguments.add_argument("--keep", type=Path, help="File for the predictions; used if there.")
    asked = arguments.parse_args()
    rng = np.random.default_rng(asked.seed)
    found = read_folder(asked.dataset)
    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(Path(folder, "versions"), Path(folder, "champions"))
        base, version = resolve.find_base(asked.model or asked.base, registry)
        seen = set(version.seen_hashes) if version else set()
        examples = [e for e in found.examples if e.boxes and hash_file(e.image) not in seen]
        picked = np.random.default_rng(0).permutation(len(examples))[: asked.images]
        examples = [examples[i] for i in sorted(picked)]
        damaged, done = damage_labels(examples, found.classes, rng)
        started = time.monotonic()
        if asked.keep and asked.keep.exists():
            kept = json.loads(asked.keep.read_text())
            by_image = {Path(p): Prediction.from_json(v) for p, v in kept["predictions"].items()}
            threshold = kept["threshold"]
        elif asked.model:
            loaded = load_model(
                registry.get_folder(resolve.resolve_model(asked.model, registry).name)
            )
            kept, predictions, _ = predict_examples(loaded, damaged)
            by_image = {e.image: p for e, p in zip(kept, predictions, strict=True)}
            threshold = loaded.card.threshold
        else:
            answers, threshold = predict_out_of_fold(
                damaged, find_learner("detector").kind, found.classes, base,
                Path(folder, "training"), epochs=asked.epochs,
            )  # fmt: skip
            by_image = {example.image: prediction for example, prediction in answers}
        if asked.keep and not asked.keep.exists():
            made = {str(p): v.to_json() for p, v in by_image.items()}
            asked.keep.write_text(json.dumps({"predictions": made, "threshold": threshold}))
    answers = [(example, by_image[example.image]) for example in damaged]
    issues = find_doubtful(answers, threshold)
    number = sum(len(example.boxes or ()) for example in damaged)
    looked = round(number / 5)
    print(
        f"{asked.dataset.name} seed {asked.seed}: {len(damaged)} images, {number} labels, "
        f"{len(done)} damaged, threshold {threshold:.2f}, {time.monotonic() - started:.0f} s"
    )
    for name, found in (("ours", issues), ("ObjectLab", score_by_objectlab(answers, threshold))):
        hits = find_share(found, done, looked)
        of = Counter(damage.kind for damage in done)
        kinds = ", ".join(f"{kind} {hits[kind]} of {of[kind]}" for kind in KINDS)
        print(f"  {name}: {sum(hits.values()) / len(done):.2f} in the first {looked} ({kinds})")


if __name__ == "__main__":
    main()
