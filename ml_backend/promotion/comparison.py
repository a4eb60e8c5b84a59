"""The trial of a candidate: it and the champion on corrected tasks that neither ever saw.

Held-out tasks are judged by the candidate itself. Until enough of them are corrected,
training tasks that the champion never saw are lent to judging: models trained as the
candidate was, but without them, answer in its place (`dataset.folds`). Those models are
judged as they would serve, and gone afterwards; what they found stays with the version.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ml_backend.dataset import snapshot as snapshots
from ml_backend.dataset.example import Example
from ml_backend.dataset.folds import Fold, folds
from ml_backend.dataset.snapshot import Item, Snapshot
from ml_backend.learners.base import Evaluation, Model, Prediction
from ml_backend.learners.kinds import find_learner, load_model
from ml_backend.learners.training_child import run_in_child
from ml_backend.learners.training_job import TrainingJob
from ml_backend.promotion import blind_review
from ml_backend.promotion.blind_review import Apart, Kind
from ml_backend.promotion.decision import RULE, Decision, Side, decide, fair
from ml_backend.promotion.predict_examples import predict_examples
from ml_backend.registry import resolve
from ml_backend.registry.versions import Registry, Version
from ml_backend.system.atomic_files import read_json, write_json

# Two folds cost as much again as the training itself: each learns from half of the lent
# tasks. More folds come closer to what the candidate learned, for a training's time each.
FOLDS = 2
# Fewer lent tasks than this are not worth trainings of their own.
FEWEST_LENT = 5

Progress = Callable[[dict[str, Any]], None]
# By task: its image with the truth, and what a model answered for it.
Answers = dict[int, tuple[Example, Prediction]]


@dataclass(frozen=True)
class Plan:
    """Who answers for which task. left_out: corrected tasks that cannot be judged fairly."""

    held_out: tuple[Item, ...]
    folds: tuple[Fold, ...]
    left_out: int

    @property
    def items(self) -> list[Item]:
        return [*self.held_out, *(item for fold in self.folds for item in fold.judged)]


def plan(
    snapshot: Snapshot, candidate: Version, base: Version | None, champion: Version | None
) -> Plan:
    """The fair tasks of a trial.

    base: what the candidate, and so the models of the folds, were trained from. Tasks that
    the champion or the base was trained on, or their group, never count; nor, where the
    candidate itself answers, those that it was trained on.
    """
    past = [one for one in (base, champion) if one is not None]
    held_out, apart = _fair(snapshot.side("holdout"), [*past, candidate])
    train = snapshot.side("train")
    wanted = RULE.many - len(held_out)
    if wanted <= 0:
        return Plan(tuple(held_out), (), apart)
    lent, seen = _fair(train, past)
    made: list[Fold] = []
    for fold in folds(train, lent, FOLDS) if len(lent) >= FEWEST_LENT else []:
        if wanted > 0:
            made.append(fold)
            wanted -= len(fold.judged)
    return Plan(tuple(held_out), tuple(made), apart + seen)


def _fair(items: Sequence[Item], past: Sequence[Version]) -> tuple[list[Item], int]:
    hashes = {one for version in past for one in version.seen_hashes}
    groups = {one for version in past for one in version.seen_groups}
    return fair(items, hashes, groups)


@dataclass(frozen=True)
class Judgement:
    """A decision and what it rests on: figures on the judged tasks, None where there are none.

    before: the champion's. tasks: the judged ones. folds: models that were trained for it.
    apart: the held-out ones of them, blind and pre-annotated.
    """

    decision: Decision
    champion: str | None
    figures: Evaluation | None
    before: Evaluation | None
    tasks: tuple[int, ...]
    folds: int
    apart: Apart

    def to_json(self) -> dict[str, Any]:
        """What is kept beside the decision and the candidate's figures."""
        return {
            "champion": self.champion,
            "champion_f1": self.before.f1.value if self.before else None,
            "folds": self.folds,
            "judged": list(self.tasks),
            "apart": self.apart.to_json(),
        }


class Trial:
    """One candidate against one champion (None: the project has none), on one snapshot.

    images: the folder of the project's fetched images. workspace: where models of folds are
    trained. epochs, imgsz: as the candidate was trained.
    """

    def __init__(
        self,
        registry: Registry,
        snapshot: Snapshot,
        candidate: Version,
        champion: Version | None,
        *,
        images: Path,
        workspace: Path,
        epochs: int | None = None,
        imgsz: int | None = None,
    ) -> None:
        self._registry = registry
        self.candidate, self.champion = candidate, champion
        self._images, self._workspace = images, workspace
        self._epochs, self._imgsz = epochs, imgsz
        self._card = registry.read_card(candidate.name)
        self._weights, base = resolve.find_base(candidate.base, registry)
        self.plan = plan(snapshot, candidate, base, champion)

    def fold(self, number: int, progress: Progress = lambda step: None) -> None:
        """Train a fold's model and keep what it finds; once: asked again, nothing is done.

        number: from 0. Raises TrainingFailed.
        """
        answers = self._answers(number)
        out = self._workspace / f"{self.candidate.name}-fold-{number + 1}"
        if answers.exists():
            shutil.rmtree(out, ignore_errors=True)
            return
        fold = self.plan.folds[number]
        job = TrainingJob(
            examples=self._examples(fold.learned),
            classes=self._card.classes,
            headline=self._card.headline,
            base=self._weights,
            out=out,
            kind=self._card.kind,
            epochs=self._epochs,
            imgsz=self._imgsz,
        )
        which = {"fold": number + 1, "folds": len(self.plan.folds)}
        run_in_child(job, lambda step: progress({**which, **step}))
        found = self._predict(load_model(out), fold.judged)
        write_json(
            answers, {str(task): prediction.to_json() for task, (_, prediction) in found.items()}
        )
        shutil.rmtree(out, ignore_errors=True)

    def judge(self) -> Judgement:
        """Candidate and champion on the judged tasks; all folds must be done."""
        items = self.plan.items
        mine = self._answer_for_candidate()
        theirs = None if self.champion is None else self._predict(self._load(self.champion), items)
        # An image that has become unreadable since is judged for neither.
        both = [i for i in items if i.task in mine and (theirs is None or i.task in theirs)]
        examples = [mine[item.task][0] for item in both]
        at = blind_review.places(both)

        def side(
            version: Version, found: Answers
        ) -> tuple[Side, Evaluation, dict[Kind, Evaluation]]:
            predictions = [found[item.task][1] for item in both]
            # The champion may know other classes; what counts is what the project is about now.
            card = replace(self._registry.read_card(version.name), headline=self._card.headline)
            learner = find_learner(card.kind)
            counts = learner.count(examples, predictions, card)
            apart = {
                kind: learner.evaluate(
                    [examples[i] for i in places], [predictions[i] for i in places], card
                )
                for kind, places in at.items()
            }
            return Side(version.name, counts), learner.evaluate(examples, predictions, card), apart

        candidate, figures, apart = side(self.candidate, mine)
        champion, before = None, None
        before_apart: dict[Kind, Evaluation] = {}
        if self.champion is not None and theirs is not None:
            champion, before, before_apart = side(self.champion, theirs)
        groups = [item.group for item in both]
        decision = decide(champion, candidate, groups, self.plan.left_out)
        warnings = blind_review.warnings([one for one in (champion, candidate) if one], at)
        return Judgement(
            replace(decision, reasons=(*decision.reasons, *warnings)),
            self.champion.name if self.champion else None,
            figures if both else None,
            before if both else None,
            tuple(sorted(item.task for item in both)),
            len(self.plan.folds),
            Apart({kind: len(places) for kind, places in at.items()}, apart, before_apart),
        )

    def _answer_for_candidate(self) -> Answers:
        found: Answers = {}
        if self.plan.held_out:
            found = self._predict(self._load(self.candidate), self.plan.held_out)
        for number, fold in enumerate(self.plan.folds):
            answers = read_json(self._answers(number))
            kept = [item for item in fold.judged if str(item.task) in answers]
            for item, example in zip(kept, self._examples(kept), strict=True):
                prediction = Prediction.from_json(answers[str(item.task)])
                found[item.task] = (replace(example, size=prediction.size), prediction)
        return found

    def _predict(self, model: Model, items: Sequence[Item]) -> Answers:
        """What it answers for the tasks whose image can be read, by task."""
        task = {self._images / item.image: item.task for item in items}
        kept, predictions, _ = predict_examples(model, self._examples(items))
        found = zip(kept, predictions, strict=True)
        return {task[example.image]: (example, prediction) for example, prediction in found}

    def _load(self, version: Version) -> Model:
        return load_model(self._registry.get_folder(version.name))

    def _examples(self, items: Sequence[Item]) -> list[Example]:
        return [snapshots.to_example(item, self._images) for item in items]

    def _answers(self, number: int) -> Path:
        against = self.champion.name if self.champion else "nothing"
        name = f"fold-{number + 1}-against-{against}.json"
        return self._registry.get_folder(self.candidate.name) / name
