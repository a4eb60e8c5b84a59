"""The second look at a project or a labelled folder: what to check, and what people answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ml_backend.dataset.consensus import collect_submissions
from ml_backend.dataset.folder import read_folder
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.labeling_config import parse_labels
from ml_backend.label_studio.session import ProjectGone
from ml_backend.learners.base import Progress
from ml_backend.learners.kinds import find_learner, load_model
from ml_backend.learners.model_file import CLASSIFIER, DETECTOR
from ml_backend.promotion.predict_examples import predict_examples
from ml_backend.promotion.second_look import Finding, find_doubtful, read_findings
from ml_backend.registry import resolve
from ml_backend.registry.versions import Registry
from ml_backend.retraining.labelled_folder import choose_task
from ml_backend.retraining.out_of_fold import predict_out_of_fold
from ml_backend.retraining.second_look_tasks import (
    Taken,
    open_project,
    send_questions,
    take_answers,
)
from ml_backend.retraining.train_version import NothingToLearn
from ml_backend.settings import Settings
from ml_backend.state.projects import Projects
from ml_backend.state.questions import Questions
from ml_backend.system.plain_files import hash_file

VIEW_TITLE = "Second look"


@dataclass(frozen=True)
class ProjectSecondLook:
    """The second look at a connected project.

    Args:
        settings: Of the data folder.
        projects: The connected ones.
        registry: Their versions.
        number: The project's id in Label Studio.
    """

    settings: Settings
    projects: Projects
    registry: Registry
    number: int

    def list_findings(self) -> list[Finding]:
        """List what holds now, the likeliest error first, without what a person confirmed.

        Raises:
            NotConnected: There is no such project.
            StudioUnreachable, StudioRefused, ProjectGone, StudioFault: As Label Studio answers.
        """
        submissions = collect_submissions(self._studio.list_annotated_tasks(self.number))
        current = {made.task: made.updated for made in submissions}
        found = read_findings(self.registry, str(self.number), current)
        confirmed = Questions.read(self.settings.questions, self.number).confirmed
        return [finding for finding in found if finding.key not in confirmed]

    def send(
        self, most: int, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> tuple[str, int, list[tuple[int, str]]]:
        """Send the likeliest errors to Label Studio: as questions, and as a tab of the project.

        Args:
            most: How many findings at most.
            progress: Called with how many are prepared, and of how many.

        Returns:
            The address of the questions, how many are new, and (task, reason) of those left out.
        """
        project, studio = self.projects.get(self.number), self._studio
        findings = self.list_findings()[:most]
        questions = self._find_questions()
        if questions is None:
            questions = open_project(studio, project.title)
            asked = Questions.read(self.settings.questions, self.number)
            replace(asked, project=questions).write(self.settings.questions, self.number)
        images = self.settings.images / str(self.number)
        sent, left_out = send_questions(studio, questions, findings, images, progress)
        tasks = list(dict.fromkeys(finding.task for finding in findings))
        studio.show_tasks(self.number, VIEW_TITLE, tasks)
        return f"{project.url.rstrip('/')}/projects/{questions}/data", sent, left_out

    def apply(self) -> Taken:
        """Write the answers into the project's annotations; the next training learns from them."""
        questions = self._find_questions()
        if questions is None:
            raise LookupError(
                f"no question about project {self.number} was sent yet; "
                f"run: cytoloop second-look --project {self.number} --send 50"
            )
        project = self.projects.get(self.number)
        findings = {finding.key: finding for finding in self.list_findings()}
        taken = take_answers(self._studio, questions, findings, parse_labels(project.label_config))
        asked = Questions.read(self.settings.questions, self.number)
        asked.confirm(taken.confirmed).write(self.settings.questions, self.number)
        return taken

    @property
    def _studio(self) -> Studio:
        project = self.projects.get(self.number)
        return Studio(project.url, project.token)

    def _find_questions(self) -> int | None:
        """The project of the questions, unless somebody deleted it."""
        questions = Questions.read(self.settings.questions, self.number).project
        if questions is None:
            return None
        try:
            return self._studio.get_project(questions).id
        except ProjectGone:
            return None


def look_again_at_folder(
    settings: Settings,
    registry: Registry,
    folder: Path,
    model: str | None = None,
    progress: Progress = lambda step: None,
) -> tuple[list[Finding], int, list[tuple[str, str]]]:
    """Look again at the labels of a folder.

    Args:
        settings: Of the data folder.
        registry: Its versions.
        folder: See `labelled_folder.train_folder`.
        model: A model that never saw the images, as the user names it; where None, models are
            trained that each leave out a part.
        progress: Called with what trainings tell.

    Returns:
        The findings, the likeliest error first; how many images were looked at; and what could
        not be used, and why.

    Raises:
        NothingToLearn: The folder is not labelled.
        TrainingFailed: A training made no model.
    """
    found = read_folder(folder)
    kind = CLASSIFIER if choose_task(found) == "classify-image" else DETECTOR
    classes = found.choices if kind == CLASSIFIER else found.classes
    learner = find_learner(kind)
    labelled = [example for example in found.examples if learner.read_truth(example) is not None]
    if not learner.choose_headline(classes):
        raise NothingToLearn(f"{folder} has no labels to check{found.describe_first_fault()}")
    skipped = list(found.skipped)
    if model is None:
        base, _ = resolve.find_base(learner.default_base, registry)
        answers, threshold = predict_out_of_fold(
            labelled,
            kind,
            classes,
            base,
            settings.training,
            epochs=settings.epochs,
            imgsz=settings.imgsz,
            progress=progress,
        )
    else:
        version = resolve.resolve_model(model, registry)
        loaded = load_model(registry.get_folder(version.name))
        seen = set(version.seen_hashes)
        unseen = [example for example in labelled if hash_file(example.image) not in seen]
        skipped += [
            (str(example.image), f"{version.name} was trained on it")
            for example in labelled
            if example not in unseen
        ]
        kept, predictions, unreadable = predict_examples(loaded, unseen)
        skipped += unreadable
        answers, threshold = list(zip(kept, predictions, strict=True)), loaded.card.threshold
    findings = [
        Finding(
            place,
            0,
            "",
            str(answers[place][0].image.relative_to(folder.absolute())),
            answers[place][1].size,
            issue,
        )
        for place, issue in find_doubtful(answers, threshold)
    ]
    return findings, len(answers), skipped
