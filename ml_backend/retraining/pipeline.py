"""From corrections to a champion, one step at a time; each step may be done again safely.

    snapshot ▶ train ▶ judge ▶ promote

The worker runs the steps as a durable job, `cytoloop train` runs them one after the
other. Publishing to Label Studio is not among them: a promotion leaves a note for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from ml_backend.dataset import snapshot as snapshots
from ml_backend.dataset.example import Example
from ml_backend.dataset.snapshot import Snapshot
from ml_backend.evaluation import plots
from ml_backend.label_studio.labeling_config import parse_labels
from ml_backend.learners.base import Learner, Progress, TrainingFailed, TrainingInterrupted
from ml_backend.learners.kinds import choose_learner, find_learner, match_labels
from ml_backend.learners.model_file import read_card
from ml_backend.learners.training_job import TrainingJob
from ml_backend.promotion import rollback_test, second_look
from ml_backend.promotion.comparison import Comparison, Judgement
from ml_backend.promotion.comparison_plan import list_past, plan_comparison
from ml_backend.promotion.decision import Decision
from ml_backend.promotion.fold_jobs import make_fold_jobs
from ml_backend.registry import resolve
from ml_backend.registry.starters import choose_starter
from ml_backend.registry.versions import Registry, Version
from ml_backend.retraining.train_version import Lesson, NothingToLearn, Wishes, train_version
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from ml_backend.state.training_progress import tell_progress
from ml_backend.system.locks import hold_lock


class Pipeline:
    """The steps for the connected projects of one data folder.

    Args:
        settings: Of the data folder.
        projects: The connected ones.
        registry: Their versions.
    """

    def __init__(self, settings: Settings, projects: Projects, registry: Registry) -> None:
        self.settings = settings
        self.projects = projects
        self.registry = registry

    # Train.

    def train(
        self, snapshot: Snapshot, wishes: Wishes = Wishes(), progress: Progress = lambda step: None
    ) -> Version:
        """Train a version on the snapshot's training side.

        A snapshot is trained on once: asked again without wishes but for the base, this returns the
        version that is there.

        The models that will judge it are trained beside it.

        Args:
            snapshot: The corrections.
            wishes: What a person asked for.
            progress: Called with what the trainings tell.

        Raises:
            NothingToLearn: The corrections do not hold what a training needs.
            TrainingFailed: The training made no version.
        """
        project = self.projects.get(snapshot.project)
        items = snapshot.select_side("train")
        learner = self._learner(project)
        examples = self._list_examples(snapshot)
        classes = _choose_classes(snapshot, learner, examples)
        if not learner.choose_headline(classes):
            if not items and (advice := snapshot.describe_missing_side()):
                raise NothingToLearn(f"project {project.id}: {advice}")
            if not items:
                raise NothingToLearn(
                    f"project {project.id} has no corrected training task yet; correct some whose "
                    "'split' is 'train'"
                )
            raise NothingToLearn(
                f"none of the {len(items)} corrected training tasks of project {project.id} has a "
                "mark of a headline class; mark some and try again"
            )
        base = wishes.base or self.choose_base(project)
        earlier = "" if wishes.base else self.choose_earlier(project, base, classes)
        wants_another = replace(wishes, base=None) != Wishes()
        with self._training_lock(str(project.id)):
            for version in self.registry.list_versions(str(project.id)):
                same = (version.snapshot, version.base) == (snapshot.name, base)
                if same and not wants_another and not version.weights_removed:
                    return version
            return train_version(
                self.settings,
                self.registry,
                str(project.id),
                Lesson(
                    learner.kind,
                    examples,
                    classes,
                    snapshot.name,
                    [item.image_hash for item in items],
                    [group for item in items for group in item.groups],
                ),
                base,
                wishes,
                progress,
                lambda version, job: self._choose_fold_jobs(snapshot, version, job),
                earlier,
            )

    def _list_examples(self, snapshot: Snapshot) -> list[Example]:
        """List what a version of the snapshot learns from."""
        folder = self.settings.images / str(snapshot.project)
        return [snapshots.to_example(item, folder) for item in snapshot.select_side("train")]

    def _choose_fold_jobs(
        self, snapshot: Snapshot, candidate: Version, job: TrainingJob
    ) -> list[TrainingJob]:
        """Choose the trainings that the candidate's trial will ask for."""
        champion = self._champion(self.projects.get(snapshot.project))
        plan = plan_comparison(snapshot, candidate, list_past(candidate, champion, self.registry))
        return make_fold_jobs(plan.folds, job, self.settings.images / str(snapshot.project))

    def choose_base(self, project: Project) -> str:
        """Choose what the project's candidates start from: the starter that draws its labels best.

        It is never the last champion alone, see `choose_earlier`: from there it would find worse
        weights, and what was learned from labels that were corrected since would be carried on.
        """
        labels = parse_labels(project.label_config)
        learner = self._learner(project)
        starter = choose_starter(labels, learner.kind)
        return starter or learner.default_base

    def choose_earlier(self, project: Project, base: str, classes: Sequence[str]) -> str:
        """Choose the version that a candidate goes on from, halfway back to its base.

        Args:
            project: Whose candidate it is.
            base: What the candidate starts from.
            classes: What it will tell apart.

        Returns:
            The champion, where it was trained in the project from the same base, and both know all
            the classes; else "".
        """
        champion = self._champion(project)
        if champion is None or (champion.project, champion.base) != (str(project.id), base):
            return ""
        files = [resolve.find_base(name, self.registry)[0] for name in (base, champion.name)]
        return champion.name if all(_knows_all(path, classes) for path in files) else ""

    def _learner(self, project: Project) -> Learner:
        learner = choose_learner(parse_labels(project.label_config))
        if learner is None:
            raise NothingToLearn(
                f"the labels of project {project.id} mark and choose nothing that can be learned; "
                "add RectangleLabels or Choices on its image"
            )
        return learner

    def _training_lock(self, project: str) -> AbstractContextManager[None]:
        """At most one training of a project at a time, whoever started it."""
        return hold_lock(self.settings.training / f"{project}.lock", self.settings.database_url)

    # Judge.

    def find_opponent(self, version: Version) -> str | None:
        """Find the champion that a candidate is judged against; None where there is none."""
        champion = self._champion(self.projects.get(int(version.project)))
        return champion.name if champion else None

    def open_comparison(
        self, version: Version, snapshot: Snapshot, champion: str | None, wishes: Wishes = Wishes()
    ) -> Comparison:
        """Open the comparison of a candidate with a champion; nothing is trained yet.

        Args:
            version: The candidate.
            snapshot: The corrections that it was trained on.
            champion: Its opponent, where there is one.
            wishes: Those that the candidate was trained with.
        """
        learner = find_learner(self.registry.read_card(version.name).kind)
        return Comparison(
            self.registry,
            snapshot,
            version,
            self.registry.get(champion) if champion else None,
            classes=_choose_classes(snapshot, learner, self._list_examples(snapshot)),
            images=self.settings.images / str(snapshot.project),
            workspace=self.settings.training,
            epochs=wishes.epochs or self.settings.epochs,
            imgsz=wishes.imgsz or self.settings.imgsz,
        )

    def judge_folds(self, comparison: Comparison, progress: Progress = lambda step: None) -> None:
        """Train the models of the folds, and let each predict what it has not seen.

        Args:
            comparison: Whose folds; what was done of them is not done again.
            progress: Called with what the trainings tell.

        Raises:
            TrainingFailed: A training made no model.
        """
        project = comparison.candidate.project
        with (
            self._training_lock(project),
            tell_progress(self.settings.progress, project, progress, "trial") as tell,
        ):
            comparison.train_folds(tell)
        self.registry.publish(comparison.candidate.name)  # with what the folds answered

    def judge(self, comparison: Comparison) -> Decision:
        """Compare the candidate with the champion, all folds done; keep decision and figures.

        A champion that was chosen while the comparison went on stays what it is.
        """
        version, champion = comparison.candidate, comparison.champion
        if champion is not None and champion.name == version.name:
            return Decision(False, (f"{version.name} is the champion already",))
        judgement = comparison.judge()
        decision = judgement.decision
        now = self.find_opponent(version)
        if now != (champion.name if champion else None):
            reason = f"not judged against {now}, which became the champion meanwhile: train again"
            decision = replace(decision, promoted=False, reasons=(reason, *decision.reasons))
        if version.name in rollback_test.find_rolled_back(
            self.registry.list_changes(version.project)
        ):
            reason = (
                "rolled back before, when annotators had to edit more; only a person promotes it"
            )
            decision = replace(decision, promoted=False, reasons=(reason, *decision.reasons))
        second_look.keep_findings(
            self.registry.get_folder(version.name),
            [item for item in comparison.plan.items if item.task in judgement.tasks],
            judgement.findings,
        )
        self._keep(version, judgement, decision)
        return decision

    def try_out(
        self,
        version: Version,
        snapshot: Snapshot,
        wishes: Wishes = Wishes(),
        progress: Progress = lambda step: None,
    ) -> Decision:
        """Compare a version with the champion: all folds, and the decision.

        Args:
            version: The candidate.
            snapshot: The corrections that it was trained on.
            wishes: Those that the candidate was trained with.
            progress: Called with what the trainings tell.

        Raises:
            TrainingInterrupted: A training was ended from outside.
        """
        comparison = self.open_comparison(version, snapshot, self.find_opponent(version), wishes)
        try:
            self.judge_folds(comparison, progress)
        except TrainingInterrupted:
            raise
        except TrainingFailed as error:
            return self.keep_unjudged(version, str(error))
        return self.judge(comparison)

    def keep_unjudged(self, version: Version, why: str) -> Decision:
        """Keep with a version why it could not be judged: a training for it failed."""
        decision = Decision(False, (f"not judged: a training for it failed: {why}",))
        self.registry.record(replace(version, decision=decision.to_json()))
        return decision

    def _champion(self, project: Project) -> Version | None:
        """The champion, if it can draw the project's labels as they are now."""
        name = self.registry.get_champion(str(project.id))
        if name is None:
            return None
        if not match_labels(self.registry.read_card(name), parse_labels(project.label_config)):
            return None
        return self.registry.get(name)

    def _keep(self, version: Version, judgement: Judgement, decision: Decision) -> None:
        kept = {**decision.to_json(), **judgement.to_json()}
        figures = judgement.figures.to_json() if judgement.figures else {}
        if judgement.figures:
            picture = self.registry.get_folder(version.name) / plots.FILE_NAME
            before = judgement.before.to_json() if judgement.before else None
            plots.plot_figures(picture, version.name, figures, judgement.champion or "", before)
        noted = self.registry.get(version.name).figures
        self.registry.record(replace(version, figures={**noted, **figures}, decision=kept))

    # Promote.

    def promote(self, version: str, project_id: int, reasons: Sequence[str], by: str) -> None:
        """Make a version the champion, and leave a note to publish it.

        Args:
            version: Its name.
            project_id: The project's number in Label Studio.
            reasons: Why; the first goes into the history.
            by: Who did it.
        """
        self.registry.promote(str(project_id), version, by=by, reason=reasons[0])
        self.projects.add_note(project_id, "publish")


def _knows_all(weights: Path | None, classes: Sequence[str]) -> bool:
    if weights is None or weights.suffix != ".safetensors":
        return False
    return read_card(weights).knows_all(classes)


def _choose_classes(
    snapshot: Snapshot, learner: Learner, examples: Sequence[Example]
) -> tuple[str, ...]:
    """Choose what a version tells apart: the labels that its examples teach, in their order."""
    taught = {name for example in examples for name in learner.read_truth(example) or ()}
    names = dict.fromkeys((*snapshot.labels, *snapshot.choices))
    return tuple(name for name in names if name in taught)
