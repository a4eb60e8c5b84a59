"""The comparison of a candidate with the champion, on corrected tasks that neither ever saw.

The candidate itself predicts the held-out tasks. Until enough of those are corrected, training
tasks that the champion never saw are lent to judging: models trained like the candidate, but
without these tasks, predict them in its place (`dataset.folds`). Those models are judged as they
would serve, and are then deleted; what they found is kept with the version.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ml_backend.dataset import snapshot as snapshots
from ml_backend.dataset.example import Example
from ml_backend.dataset.snapshot import Item, Snapshot
from ml_backend.learners.base import Figures, Model, Prediction
from ml_backend.learners.kinds import find_learner, load_model
from ml_backend.learners.model_file import FILE_NAME, rewrite_card
from ml_backend.learners.training_child import run_side_by_side
from ml_backend.learners.training_job import TrainingJob
from ml_backend.promotion import blind_review, operating_point
from ml_backend.promotion.blind_review import FiguresByReview, ReviewKind
from ml_backend.promotion.comparison_plan import list_past, plan_comparison
from ml_backend.promotion.decision import Decision, JudgedVersion, decide_promotion
from ml_backend.promotion.fold_jobs import make_fold_jobs
from ml_backend.promotion.predict_examples import predict_examples
from ml_backend.promotion.second_look import Finding, list_findings
from ml_backend.registry import resolve
from ml_backend.registry.versions import Registry, Version
from ml_backend.system.atomic_files import read_json, write_json

Progress = Callable[[dict[str, Any]], None]
# By task: its image with the truth, and a model's prediction for it.
Predictions = dict[int, tuple[Example, Prediction]]


@dataclass(frozen=True)
class Judgement:
    """A decision and what it rests on.

    Attributes:
        decision: The decision.
        champion: The champion's name; None where the project has none.
        figures: The candidate's, on the judged tasks; None without judged tasks.
        before: The champion's, on the same tasks; None without a champion too.
        tasks: Ids of the judged tasks.
        folds: How many models were trained to judge.
        by_review: The figures of the held-out tasks, blind and pre-annotated.
        findings: Labels of the judged tasks that may be wrong.
    """

    decision: Decision
    champion: str | None
    figures: Figures | None
    before: Figures | None
    tasks: tuple[int, ...]
    folds: int
    by_review: FiguresByReview
    findings: tuple[Finding, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Convert to plain values what is kept beside the decision and the candidate's figures."""
        return {
            "champion": self.champion,
            "champion_f1": self.before.f1.value if self.before else None,
            "folds": self.folds,
            "judged": list(self.tasks),
            "apart": self.by_review.to_json(),
        }


class Comparison:
    """One candidate against one champion, on one snapshot.

    Attributes:
        candidate: The new version.
        champion: None where the project has none.
        plan: Which model predicts which task.
    """

    def __init__(
        self,
        registry: Registry,
        snapshot: Snapshot,
        candidate: Version,
        champion: Version | None,
        *,
        classes: tuple[str, ...],
        images: Path,
        workspace: Path,
        epochs: int | None = None,
        imgsz: int | None = None,
    ) -> None:
        """Plan the comparison.

        Args:
            registry: The versions.
            snapshot: The corrected tasks.
            candidate: The new version.
            champion: None where the project has none.
            classes: What the candidate was taught to tell apart.
            images: The folder of the project's fetched images.
            workspace: The folder in which models of folds are trained.
            epochs: As the candidate was trained.
            imgsz: As the candidate was trained.
        """
        self._registry = registry
        self.candidate, self.champion = candidate, champion
        self._classes, self._images, self._workspace = classes, images, workspace
        self._epochs, self._imgsz = epochs, imgsz
        self._card = registry.read_card(candidate.name)
        self._weights, _ = resolve.find_base(candidate.base, registry)
        self._earlier, _ = resolve.find_base(candidate.earlier, registry)
        self.plan = plan_comparison(snapshot, candidate, list_past(candidate, champion, registry))

    def train_folds(self, progress: Progress = lambda step: None) -> None:
        """Train the folds' models and keep their predictions; a fold that has them is not redone.

        Nor is one trained again whose model was made beside the candidate's, see `make_fold_jobs`.

        Args:
            progress: Called with the fold and the training's progress, by one thread at a time.

        Raises:
            TrainingFailed: A training failed. What the other one found is kept.
        """
        jobs = make_fold_jobs(self.plan.folds, self._describe_training(), self._images)
        missing = [
            number for number in range(len(jobs)) if not self._get_predictions_file(number).exists()
        ]

        def tell(place: int, step: dict[str, Any]) -> None:
            progress({"fold": missing[place] + 1, "folds": len(jobs), **step})

        trained = run_side_by_side([jobs[number] for number in missing], tell)
        for number, training in zip(missing, trained, strict=True):
            if training.exception() is None:
                self._keep_predictions(number, load_model(jobs[number].out))
        for training in trained:
            training.result()
        # Also those of a process that was killed before it came so far.
        for job in jobs:
            shutil.rmtree(job.out, ignore_errors=True)

    def _describe_training(self) -> TrainingJob:
        """Describe how the candidate was trained, but for the examples."""
        return TrainingJob(
            examples=(),
            classes=self._classes,
            headline=find_learner(self._card.kind).choose_headline(self._classes),
            base=self._weights,
            out=self._workspace / f"{self.candidate.project}-{self.candidate.snapshot}",
            kind=self._card.kind,
            epochs=self._epochs,
            imgsz=self._imgsz,
            earlier=self._earlier,
        )

    def _keep_predictions(self, number: int, model: Model) -> None:
        predictions = self._predict(model, self.plan.folds[number].judged)
        write_json(
            self._get_predictions_file(number),
            {str(task): prediction.to_json() for task, (_, prediction) in predictions.items()},
        )

    def judge(self) -> Judgement:
        """Judge candidate and champion on the planned tasks; all folds must be trained.

        First, the candidate gets the threshold and calibration that the folds tell.
        """
        items = self.plan.items
        of_candidate = self._predict_for_candidate()
        of_champion = self._predict(self._load(self.champion), items) if self.champion else None
        # An image that has become unreadable since is judged for neither.
        judged = [
            item
            for item in items
            if item.task in of_candidate and (of_champion is None or item.task in of_champion)
        ]
        examples = [of_candidate[item.task][0] for item in judged]
        indexes = blind_review.index_by_review(judged)

        def judge_version(
            version: Version, found: Predictions
        ) -> tuple[JudgedVersion, Figures, dict[ReviewKind, Figures]]:
            predictions = [found[item.task][1] for item in judged]
            # The champion may know other classes; what counts is what the project is about now.
            card = replace(self._registry.read_card(version.name), headline=self._card.headline)
            learner = find_learner(self._card.kind)
            counts = learner.count(examples, predictions, card)
            by_review = {
                kind: learner.evaluate(
                    [examples[i] for i in chosen], [predictions[i] for i in chosen], card
                )
                for kind, chosen in indexes.items()
            }
            figures = learner.evaluate(examples, predictions, card)
            return JudgedVersion(version.name, counts), figures, by_review

        candidate, figures, by_review = judge_version(self.candidate, of_candidate)
        champion, before = None, None
        before_by_review: dict[ReviewKind, Figures] = {}
        if self.champion is not None and of_champion is not None:
            champion, before, before_by_review = judge_version(self.champion, of_champion)
        groups = [item.group for item in judged]
        decision = decide_promotion(champion, candidate, groups, self.plan.left_out)
        warnings = blind_review.find_warnings(
            [version for version in (champion, candidate) if version], indexes
        )
        numbers = {kind: len(chosen) for kind, chosen in indexes.items()}
        return Judgement(
            replace(decision, reasons=(*decision.reasons, *warnings)),
            self.champion.name if self.champion else None,
            figures if judged else None,
            before if judged else None,
            tuple(sorted(item.task for item in judged)),
            len(self.plan.folds),
            FiguresByReview(numbers, by_review, before_by_review),
            tuple(self._look_again(of_candidate)),
        )

    def _look_again(self, answers: Predictions) -> list[Finding]:
        """Find labels that may be wrong: each answer is of a model that never saw the task."""
        looked_at = [item for item in self.plan.items if item.task in answers]
        return list_findings(
            [(item, *answers[item.task]) for item in looked_at], self._card.threshold
        )

    def _predict_for_candidate(self) -> Predictions:
        """Tune the candidate by the folds, and put its answers and theirs together."""
        learner = find_learner(self._card.kind)
        found = [self._read_fold(number) for number in range(len(self.plan.folds))]
        folds = [list(fold.values()) for fold in found]
        card = operating_point.tune_card(learner, self._card, folds)
        if card != self._card:
            rewrite_card(self._registry.get_folder(self.candidate.name) / FILE_NAME, card)
            self._card = card
        predictions: Predictions = {}
        if self.plan.held_out:
            predictions = self._predict(self._load(self.candidate), self.plan.held_out)
        calibrated = operating_point.calibrate_folds(learner, card, folds)
        for tasks, pairs in zip(found, calibrated, strict=True):
            predictions |= dict(zip(tasks, pairs, strict=True))
        return predictions

    def _read_fold(self, number: int) -> Predictions:
        """Read what a fold's model found."""
        stored = read_json(self._get_predictions_file(number))
        kept = [item for item in self.plan.folds[number].judged if str(item.task) in stored]
        predictions: Predictions = {}
        for item, example in zip(kept, self._make_examples(kept), strict=True):
            prediction = Prediction.from_json(stored[str(item.task)])
            predictions[item.task] = (replace(example, size=prediction.size), prediction)
        return predictions

    def _predict(self, model: Model, items: Sequence[Item]) -> Predictions:
        """Predict the tasks whose image can be read."""
        task = {self._images / item.image: item.task for item in items}
        kept, predictions, _ = predict_examples(model, self._make_examples(items))
        pairs = zip(kept, predictions, strict=True)
        return {task[example.image]: (example, prediction) for example, prediction in pairs}

    def _load(self, version: Version) -> Model:
        return load_model(self._registry.get_folder(version.name))

    def _make_examples(self, items: Sequence[Item]) -> list[Example]:
        return [snapshots.to_example(item, self._images) for item in items]

    def _get_predictions_file(self, number: int) -> Path:
        against = self.champion.name if self.champion else "nothing"
        name = f"fold-{number + 1}-against-{against}.json"
        return self._registry.get_folder(self.candidate.name) / name
