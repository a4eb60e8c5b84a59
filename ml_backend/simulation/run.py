"""One simulated loop: a strategy chooses, the annotator corrects, the product trains, and again.

Every round is a file of its own, written when the round is whole: a run that was killed goes on
after the last one. What is drawn by chance depends on the seed alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.active_learning.strategies.base import Candidate, Context, Strategy
from ml_backend.dataset.example import Example
from ml_backend.dataset.split import hash_to_unit
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.class_names import canonicalize
from ml_backend.learners.base import Model, Prediction
from ml_backend.learners.kinds import find_learner, load_model
from ml_backend.learners.model_file import DETECTOR
from ml_backend.learners.training_child import run_in_child
from ml_backend.learners.training_job import TrainingJob
from ml_backend.promotion.predict_examples import predict_examples
from ml_backend.serving.preannotation import FLOOR
from ml_backend.simulation.annotator import review
from ml_backend.simulation.curves import Point
from ml_backend.simulation.effort import Effort, add_up
from ml_backend.system.atomic_files import read_json, write_json

# Named images with their truth, which only the annotator and the judge see.
Named = Mapping[str, Example]


@dataclass(frozen=True)
class Lab:
    """What is the same in all runs of a seed.

    Attributes:
        pool: The images that may be reviewed, by name.
        judged: The images kept apart.
        classes: Of the boxes.
        base: The model's file that every training starts from.
        served: The folder of the version that marks the first images.
        epochs: Passes of a training; the recipe's own where None.
        seed: Of the trainings, and of what strategies draw.
        folder: For the runs of the seed.
    """

    pool: Named
    judged: Sequence[Example]
    classes: tuple[str, ...]
    base: Path
    served: Path
    epochs: int | None
    seed: int
    folder: Path

    @property
    def headline(self) -> tuple[str, ...]:
        """The classes that the folder is about."""
        return find_learner(DETECTOR).choose_headline(self.classes)

    def train(self, examples: Sequence[Example], out: Path) -> Path:
        """Train on examples as the product does; what is finished in `out` is not done again."""
        job = TrainingJob(
            examples=examples,
            classes=self.classes,
            headline=self.headline,
            base=self.base,
            out=out,
            epochs=self.epochs,
            seed=self.seed,
        )
        run_in_child(job, lambda step: None)
        return out

    def judge(self, version: Path) -> dict[str, float | None]:
        """Judge a version on the images kept apart; see `curves.Point`."""
        model = load_model(version)
        kept, predictions, _ = predict_examples(model, self.judged)
        named = [self.name_boxes(prediction) for prediction in predictions]
        card = replace(model.card, classes=self.classes, headline=self.headline)
        figures = find_learner(DETECTOR).evaluate(kept, named, card).to_json()
        return {
            "f1": figures["f1"],
            "ap50": figures["ap50"],
            "image_sensitivity": figures["image_sensitivity_at_specificity"],
        }

    def name_boxes(self, prediction: Prediction) -> Prediction:
        """Name boxes as the folder does, without those of a class that it does not know."""
        names = {canonicalize(name): name for name in self.classes}
        boxes = prediction.boxes
        found = [names.get(canonicalize(str(name)), "") for name in boxes.label]
        named = Boxes(boxes.xyxy, np.array(found, np.str_), boxes.confidence)
        return replace(prediction, boxes=named.select(named.label != ""))


@dataclass(frozen=True)
class Round:
    """A round, as its file holds it.

    Attributes:
        deleted: The images that were reviewed, by name, each with what was deleted there: rows of
            four numbers, px.
        effort: Of this round.
        figures: Of the version that came of it; see `curves.Point`.
    """

    deleted: Mapping[str, list[list[float]]]
    effort: Effort
    figures: Mapping[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """Give plain values; `from_json` reads them back."""
        return {
            "deleted": dict(self.deleted),
            "effort": self.effort.to_json(),
            "figures": dict(self.figures),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Round:
        """Read what `to_json` gave."""
        return cls(value["deleted"], Effort(**value["effort"]), value["figures"])


def run_rounds(
    lab: Lab,
    strategy: Strategy,
    batch: int,
    rounds: int,
    advance: Callable[[int], None] = lambda images: None,
) -> list[Round]:
    """Run the rounds of a strategy that were not run yet.

    Args:
        lab: Of the seed.
        strategy: Chooses what is reviewed.
        batch: Images a round.
        rounds: How many rounds; fewer where no image is left.
        advance: Called after every round with how many images its version learned from.

    Returns:
        All rounds; the first without a review, of the version that marks the first images.
    """
    folder = lab.folder / strategy.name
    done = _read_rounds(folder)[: rounds + 1]
    if not done:
        done = [Round({}, Effort(), lab.judge(lab.served))]
        write_json(folder / "round-0.json", done[0].to_json())
    for past in range(1, len(done)):
        advance(sum(len(r.deleted) for r in done[: past + 1]))
    for number in range(len(done), rounds + 1):
        reviewed = _list_reviewed(lab.pool, done)
        waiting = {name: e for name, e in lab.pool.items() if name not in reviewed}
        if not waiting:
            break
        before = folder / f"model-{number - 1}"
        version = lab.train(list(reviewed.values()), before) if reviewed else lab.served
        chosen = choose(lab, strategy, load_model(version), waiting, number - 1, batch)
        deleted = {name: review.example.deleted.tolist() for name, review in chosen.items()}
        learned = {**reviewed, **{name: review.example for name, review in chosen.items()}}
        after = lab.train(list(learned.values()), folder / f"model-{number}")
        effort = add_up(review.effort for review in chosen.values())
        done.append(Round(deleted, effort, lab.judge(after)))
        write_json(folder / f"round-{number}.json", done[-1].to_json())
        shutil.rmtree(before, ignore_errors=True)
        advance(len(learned))
    return done


def choose(
    lab: Lab, strategy: Strategy, model: Model, waiting: Named, number: int, batch: int
) -> dict[str, Any]:
    """Let the strategy choose a batch of the waiting images, and the annotator correct it.

    Args:
        lab: Of the seed.
        strategy: Chooses.
        model: Marks the images.
        waiting: The images to choose from, by name.
        number: How many rounds were reviewed before.
        batch: How many images to choose.

    Returns:
        The `annotator.Review` of each chosen image, by name, first the one that is reviewed first.
    """
    kept, predictions, _ = predict_examples(model, list(waiting.values()))
    names = {example.image: name for name, example in waiting.items()}
    found = [names[example.image] for example in kept]
    card = replace(model.card, classes=lab.classes, headline=lab.headline)
    learner = find_learner(card.kind)
    marked = [lab.name_boxes(prediction) for prediction in predictions]
    candidates = []
    for name, prediction in zip(found, marked, strict=True):
        answers = learner.list_answers(prediction, card)
        key = f"{lab.seed}/{name}"
        candidates.append(Candidate(key, answers.select(answers.confidence >= FLOOR)))
    scores = strategy.score(candidates, Context(card.threshold))
    ties = np.array([hash_to_unit(candidate.key) for candidate in candidates])
    first = np.lexsort((ties, scores))[:batch]
    reviews = {}
    for place in first:
        boxes = marked[place].boxes
        shown = boxes.select(boxes.confidence >= card.threshold)
        reviews[found[place]] = review(waiting[found[place]], shown)
    return reviews


def make_curve(rounds: Sequence[Round]) -> list[Point]:
    """Make the curve of a run: what was spent until the end of each round, and the figures then."""
    points, spent = [], Effort()
    for done in rounds:
        spent = add_up([spent, done.effort])
        points.append(Point(spent.images, spent.added, spent.edits, spent.seconds, **done.figures))
    return points


def _read_rounds(folder: Path) -> list[Round]:
    rounds: list[Round] = []
    while (value := read_json(folder / f"round-{len(rounds)}.json")) is not None:
        rounds.append(Round.from_json(value))
    return rounds


def _list_reviewed(pool: Named, rounds: Sequence[Round]) -> dict[str, Example]:
    """The images reviewed so far, as training gets them."""
    return {
        name: replace(pool[name], deleted=np.array(rows, np.float32).reshape(-1, 4))
        for done in rounds
        for name, rows in done.deleted.items()
    }
