"""From corrections to a champion, one step at a time; each step may be done again safely.

    snapshot ▶ train ▶ judge ▶ promote

The worker runs the steps as a durable job, `cytoloop train` runs them one after the
other. Publishing to Label Studio is not among them: a promotion leaves a note for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from ml_backend.dataset import snapshot as snapshots
from ml_backend.dataset.example import Example
from ml_backend.dataset.folder import read_folder
from ml_backend.dataset.snapshot import Snapshot
from ml_backend.evaluation import plots
from ml_backend.label_studio.labeling_config import headline
from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.detector.training import (
    TrainingFailed,
    TrainingInterrupted,
    TrainingJob,
    run_in_child,
)
from ml_backend.promotion import rollback_test
from ml_backend.promotion.comparison import Judgement, Trial
from ml_backend.promotion.decision import Decision
from ml_backend.promotion.detect_examples import detect_all, judge
from ml_backend.promotion.rollback import Aftermath
from ml_backend.registry import resolve
from ml_backend.registry.versions import DATASET_PROJECT, Registry, Version, check_word, file_hash
from ml_backend.retraining.collect import Submissions
from ml_backend.serving.model_cache import draws, parse_labels
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from ml_backend.state.training_progress import telling

Progress = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Wishes:
    """What a person may ask of a training; None leaves it to the recipe and the settings."""

    base: str | None = None
    epochs: int | None = None
    imgsz: int | None = None
    name: str | None = None


class NothingToLearn(ValueError):
    """The corrected tasks do not hold what a training needs."""


class Improvement:
    """The steps, over one data folder."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.projects = Projects(settings.projects_database)
        self.registry = Registry(settings.versions, settings.champions)
        self.aftermath = Aftermath(self.projects, self.registry)
        self.submissions = Submissions(settings, self.projects, self.aftermath)

    # Train.

    def train(
        self, snapshot: Snapshot, wishes: Wishes = Wishes(), progress: Progress = lambda step: None
    ) -> Version:
        """A version trained on the snapshot's training side, from the base.

        A snapshot is trained on once: asked again with the same wishes, it gives the
        version that is there. Raises NothingToLearn or TrainingFailed.
        """
        project = self.projects.get(snapshot.project)
        items = snapshot.side("train")
        drawn = {row[4] for item in items for row in item.boxes}
        classes = tuple(label for label in snapshot.labels if label in drawn)
        if not headline(classes):
            if not items and (said := snapshot.one_sided()):
                raise NothingToLearn(f"project {project.id}: {said}")
            if not items:
                raise NothingToLearn(
                    f"project {project.id} has no corrected training task yet; correct some whose "
                    "'split' is 'train'"
                )
            raise NothingToLearn(
                f"none of the {len(items)} corrected training tasks of project {project.id} has a "
                "box of a headline class; mark some and try again"
            )
        base = wishes.base or self.base(project)
        with self._training_lock(str(project.id)):
            for version in self.registry.all(str(project.id)):
                if (version.snapshot, version.base) == (snapshot.name, base) and not wishes.name:
                    return version
            folder = self.settings.images / str(project.id)
            return self._train(
                str(project.id),
                [snapshots.to_example(item, folder) for item in items],
                classes,
                base,
                wishes,
                snapshot=snapshot.name,
                hashes=[item.image_hash for item in items],
                groups=[group for item in items for group in item.groups],
                progress=progress,
            )

    def train_folder(
        self, folder: Path, wishes: Wishes = Wishes(), progress: Progress = lambda step: None
    ) -> tuple[Version, list[tuple[str, str]]]:
        """A version of the project "dataset" trained on a labelled folder's images.

        Also gives what of the folder could not be used, and why. Images without an
        annotation file are not trained on. Raises ValueError, NothingToLearn, TrainingFailed.
        """
        found = read_folder(folder)
        labelled = [example for example in found.examples if example.boxes is not None]
        if not headline(found.classes):
            raise NothingToLearn(
                f"{folder} has no box of a headline class to learn from{found.first_fault()}"
            )
        hashes = [file_hash(example.image) for example in labelled]
        content = sorted(
            (digest, sorted(example.boxes.rows()), example.ignored.tolist())
            for digest, example in zip(hashes, labelled, strict=True)
            if example.boxes is not None
        )
        name = hashlib.sha256(json.dumps(content).encode("utf-8")).hexdigest()[:16]
        version = self._train(
            DATASET_PROJECT,
            labelled,
            found.classes,
            wishes.base or resolve.DEFAULT_MODEL,
            wishes,
            snapshot=name,
            hashes=hashes,
            groups=[example.group for example in labelled],
            progress=progress,
        )
        return version, found.skipped

    def _train(
        self,
        project: str,
        examples: Sequence[Example],
        classes: Sequence[str],
        base: str,
        wishes: Wishes,
        *,
        snapshot: str,
        hashes: Sequence[str],
        groups: Sequence[str],
        progress: Progress,
    ) -> Version:
        """Train in a process of its own and add the version, with its whole ancestry."""
        check_word(wishes.name)  # before the training, not after it
        weights, ancestor = resolve.base_weights(base, self.registry)
        out = self.settings.training / f"{project}-{snapshot}"
        job = TrainingJob(
            examples=examples,
            classes=tuple(classes),
            headline=headline(classes),
            base=weights,
            epochs=wishes.epochs or self.settings.epochs,
            imgsz=wishes.imgsz or self.settings.imgsz,
            out=out,
        )
        with telling(self.settings.progress, project, progress) as tell:
            trained = run_in_child(job, tell)
        name = self.registry.next_name(project, trained, wishes.name or "v")
        seen_hashes = set(hashes) | set(ancestor.seen_hashes if ancestor else ())
        seen_groups = set(groups) | set(ancestor.seen_groups if ancestor else ())
        version = Version(
            name=name,
            project=project,
            created=time.time(),
            base=base,
            snapshot=snapshot,
            seen_hashes=tuple(sorted(seen_hashes)),
            seen_groups=tuple(sorted(seen_groups)),
        )
        added = resolve.ready(version, trained, self.registry)
        shutil.rmtree(out, ignore_errors=True)
        return added

    def base(self, project: Project) -> str:
        """What the project's candidates start from: the starter that draws its labels best.

        Never the last champion: what it learned from labels that were corrected since
        would be carried on, and its hold-out would shrink with every generation.
        """
        labels = parse_labels(project.label_config)
        for starter in resolve.starters():
            weights, _ = resolve.base_weights(starter, self.registry)
            if draws(resolve.read_card(weights), labels):
                return starter
        return resolve.DEFAULT_MODEL

    def _training_lock(self, project: str) -> FileLock:
        """At most one training of a project at a time, whoever started it."""
        folder = self.settings.training
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{project}.lock")

    # Judge.

    def opponent(self, version: Version) -> str | None:
        """The champion that a candidate is judged against; None where the project has none."""
        champion = self._champion(self.projects.get(int(version.project)))
        return champion.name if champion else None

    def trial(
        self, version: Version, snapshot: Snapshot, champion: str | None, wishes: Wishes = Wishes()
    ) -> Trial:
        """The candidate's trial; wishes: those that it was trained with."""
        return Trial(
            self.registry,
            snapshot,
            version,
            self.registry.get(champion) if champion else None,
            images=self.settings.images / str(snapshot.project),
            workspace=self.settings.training,
            epochs=wishes.epochs or self.settings.epochs,
            imgsz=wishes.imgsz or self.settings.imgsz,
        )

    def fold(self, trial: Trial, number: int, progress: Progress = lambda step: None) -> None:
        """One fold of a trial. Raises TrainingFailed."""
        project = trial.candidate.project
        with (
            self._training_lock(project),
            telling(self.settings.progress, project, progress) as tell,
        ):
            trial.fold(number, tell)

    def judge(self, trial: Trial) -> Decision:
        """Compare the candidate with the champion, all folds done; keep decision and figures.

        A champion that was chosen while the trial went on stays what it is.
        """
        version, champion = trial.candidate, trial.champion
        if champion is not None and champion.name == version.name:
            return Decision(False, (f"{version.name} is the champion already",))
        judgement = trial.judge()
        decision = judgement.decision
        now = self.opponent(version)
        if now != (champion.name if champion else None):
            said = f"not judged against {now}, which became the champion meanwhile: train again"
            decision = replace(decision, promoted=False, reasons=(said, *decision.reasons))
        if version.name in rollback_test.found_worse(self.registry.history(version.project)):
            said = "rolled back before, when annotators had to edit more; only a person promotes it"
            decision = replace(decision, promoted=False, reasons=(said, *decision.reasons))
        self._keep(version, judgement, decision)
        return decision

    def try_out(
        self,
        version: Version,
        snapshot: Snapshot,
        wishes: Wishes = Wishes(),
        progress: Progress = lambda step: None,
    ) -> Decision:
        """The whole trial, one step after the other. Raises TrainingInterrupted."""
        trial = self.trial(version, snapshot, self.opponent(version), wishes)
        try:
            for number in range(len(trial.plan.folds)):
                self.fold(trial, number, progress)
        except TrainingInterrupted:
            raise
        except TrainingFailed as error:
            return self.unjudged(version, str(error))
        return self.judge(trial)

    def unjudged(self, version: Version, why: str) -> Decision:
        """The version stays, and so does why it could not be judged."""
        decision = Decision(False, (f"not judged: a training for it failed: {why}",))
        self.registry.record(replace(version, decision=decision.to_json()))
        return decision

    def evaluate_folder(
        self, folder: Path, model: str, progress: Callable[[int, int], None]
    ) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        """The figures of a model on a labelled folder, and what could not be used.

        "headline" are the classes that the means are over; "trained_on" counts the images that the
        version, or an ancestor, was trained on.
        Raises ValueError where nothing in the folder is labelled.
        """
        found = read_folder(folder)
        if all(one.boxes is None and one.image_label is None for one in found.examples):
            raise ValueError(
                f"{folder}: none of its {len(found.examples)} images is labelled"
                f"{found.first_fault()}"
            )
        version = resolve.resolve(model, self.registry)
        detector = Detector.load(self.registry.folder(version.name))
        kept, boxes, unreadable = detect_all(detector, found.examples, progress)
        figures = judge(detector.card, kept, boxes)
        known = set(version.seen_hashes)
        seen = sum(file_hash(example.image) in known for example in kept)
        result = {
            "model": version.name,
            "headline": list(detector.card.headline),
            **figures.to_json(),
            "trained_on": seen,
        }
        return result, [*found.skipped, *unreadable]

    def _champion(self, project: Project) -> Version | None:
        """The champion, if it can draw the project's labels as they are now."""
        name = self.registry.champion(str(project.id))
        if name is None or not draws(self.registry.card(name), parse_labels(project.label_config)):
            return None
        return self.registry.get(name)

    def _keep(self, version: Version, judgement: Judgement, decision: Decision) -> None:
        kept = {**decision.to_json(), **judgement.to_json()}
        figures = judgement.figures.to_json() if judgement.figures else {}
        if judgement.figures:
            picture = self.registry.folder(version.name) / plots.FILE_NAME
            before = judgement.before.to_json() if judgement.before else None
            plots.draw(picture, version.name, figures, judgement.champion or "", before)
        noted = self.registry.get(version.name).figures
        self.registry.record(replace(version, figures={**noted, **figures}, decision=kept))

    # Promote.

    def promote(self, version: str, project_id: int, reasons: Sequence[str], by: str) -> None:
        """Make it the champion, and leave a note to publish it."""
        self.registry.promote(str(project_id), version, by=by, reason=reasons[0])
        self.projects.leave(project_id, "publish")


def who() -> str:
    """Who acts at this command line, for the records."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return os.environ.get("USERNAME", "somebody")
