"""What happens in a project now, and what to do next."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from ml_backend.dataset.consensus import Submission
from ml_backend.dataset.snapshot import count_corrected_since, load_snapshot
from ml_backend.label_studio.client import Studio
from ml_backend.registry.champions import ChampionChange
from ml_backend.serving.app_state import AppState
from ml_backend.serving.catalogue.refresh import RefreshState, Source
from ml_backend.serving.catalogue.store import Catalogue, Counts
from ml_backend.serving.model_cache import name_untrained
from ml_backend.serving.project_page.advice import Failure, explain, explain_training, join_failures
from ml_backend.serving.project_page.next_step import Progress, describe_next_step
from ml_backend.state.projects import Note, Project
from ml_backend.state.training_progress import Training, list_trainings

# A note that the worker has not taken up after so many seconds, while nothing trains.
_UNNOTICED = 120.0
# A training that told nothing for so many seconds may have been killed.
_SILENT = 900.0
_MOST_LEFT_OUT = 5000


@dataclass(frozen=True)
class Now:
    """What happens in a project now.

    Attributes:
        project: The project.
        version: What pre-annotates it.
        trained: A version does.
        counts: Of its tasks and cells, as far as they are known here.
        reading: How far Label Studio was read.
        training: The training that runs; None where none does.
        asked: When a training was asked for that has not begun, in seconds since 1970.
        unpublished: Tasks that the version has not drawn yet, and that nobody annotated.
        left_out: Tasks that could not be drawn.
        corrected: Tasks submitted since the last training.
        wanted: So many start the next one.
        next_step: What to do, in one sentence.
        why: Why, in another; or "".
        failures: What does not work.
        changed: The last change of the champion; None before the first.
    """

    project: Project
    version: str
    trained: bool
    counts: Counts
    reading: RefreshState
    training: Training | None
    asked: float | None
    unpublished: int
    left_out: int
    corrected: int
    wanted: int
    next_step: str
    why: str
    failures: list[Failure]
    changed: ChampionChange | None

    @property
    def share_done(self) -> float | None:
        """How much of the training is done, 0..1; None where none runs."""
        if self.training is None:
            return None
        return self.training.epoch / self.training.epochs if self.training.epochs else 0.0


def describe_now(state: AppState, project: Project) -> Now:
    """Describe what happens in a project; what Label Studio holds is read in the background."""
    catalogue, refresher = state.catalogues.get(project.id)
    version = state.models.choose_version(project)
    refresher.start(_make_source(state, project, version))
    trained = version != name_untrained(project.id)
    counts = catalogue.count()
    notes = {kind: first for number, kind, first, _ in state.projects.list_notes()
             if number == project.id}  # fmt: skip
    running = {training.project: training for training in list_trainings(state.settings.progress)}
    training = running.get(str(project.id))
    left_out = state.projects.list_left_out(project.id, _MOST_LEFT_OUT)
    unpublished = 0
    if trained:
        unpublished = max(0, counts.tasks - counts.reviewed - _count_shown(catalogue, version))
    corrected, held_out, held_out_left = _count_corrected(state, project, catalogue)
    step, why = describe_next_step(
        Progress(
            tasks=counts.tasks,
            untouched=counts.tasks - counts.reviewed,
            trained=trained,
            training=training is not None,
            asked="train" in notes,
            corrected=corrected,
            wanted=state.settings.retrain_after,
            held_out=held_out,
            held_out_left=held_out_left,
            outlook=(state.projects.get_estimate(project.id) or {}).get("advice") or "",
        )
    )
    if not counts.tasks and refresher.state.finished is None:
        step, why = "Reading the tasks from Label Studio …", ""
    changes = state.registry.list_changes(str(project.id))
    return Now(
        project=project,
        version=version,
        trained=trained,
        counts=counts,
        reading=refresher.state,
        training=training,
        asked=notes.get("train"),
        unpublished=max(0, unpublished - len(left_out)),
        left_out=len(left_out),
        corrected=corrected,
        wanted=state.settings.retrain_after,
        next_step=step,
        why=why,
        failures=_list_failures(state, project, notes, running, refresher.state, left_out),
        changed=changes[-1] if changes else None,
    )


def _make_source(state: AppState, project: Project, version: str) -> Source:
    return Source(
        Studio(project.url, project.token),
        project.id,
        project.label_config,
        version,
        lambda: state.projects.get_shown_regions(project.id),
    )


def refresh_now(state: AppState, project: Project, *, at_once: bool = True) -> None:
    """Read in the background what changed in Label Studio.

    Args:
        state: Of the server.
        project: Of which.
        at_once: However fresh the last reading is.
    """
    _, refresher = state.catalogues.get(project.id)
    version = state.models.choose_version(project)
    refresher.start(_make_source(state, project, version), now=at_once)


def _count_shown(catalogue: Catalogue, version: str) -> int:
    def count() -> int:
        query = "select count(*) from task where state = 'detected' and drawn = ?"
        return int(catalogue.read().execute(query, (version,)).fetchone()[0])

    return catalogue.remember(f"shown by {version}", count)


def _count_corrected(
    state: AppState, project: Project, catalogue: Catalogue
) -> tuple[int, int, int]:
    """Tasks submitted since the last training; held-out ones submitted, and not yet."""
    name = state.projects.get_last_attempt(project.id)

    def count() -> tuple[int, int, int]:
        return _count_since(name, state, catalogue)

    return catalogue.remember(f"corrected since {name}", count)


def _count_since(name: str | None, state: AppState, catalogue: Catalogue) -> tuple[int, int, int]:
    snapshot = load_snapshot(name, state.settings.snapshots) if name else None
    submitted = catalogue.list_submitted()
    corrected = count_corrected_since(
        [Submission(task, {}, annotation, updated) for task, annotation, updated, _ in submitted],
        snapshot,
    )
    held_out = sum(split == "holdout" for *_, split in submitted)
    (kept_apart,) = (
        catalogue.read().execute("select count(*) from task where split = 'holdout'").fetchone()
    )
    return corrected, held_out, kept_apart - held_out


def _list_failures(
    state: AppState,
    project: Project,
    notes: Mapping[Note, float],
    running: dict[str, Training],
    reading: RefreshState,
    left_out: list[dict],
) -> list[Failure]:
    failures = []
    if reading.problem:
        failures.append(explain(reading.problem))
    for job, reason, _ in state.projects.list_troubles(project.id):
        failure = explain(reason)
        done = "The training" if job == "improve" else "Drawing the boxes"
        failures.append(
            Failure(f"{done} had to stop. {failure.what}", failure.remedy, failure.detail)
        )
    oldest = min(notes.values(), default=None)
    if oldest is not None and time.time() - oldest > _UNNOTICED and not running:
        failures.append(
            Failure(
                "Nothing is learned or drawn at the moment: the worker does not run.",
                "Start it again: cytoloop worker, or cytoloop up, which starts everything.",
            )
        )
    training = running.get(str(project.id))
    if training is not None and time.time() - training.told > _SILENT:
        failures.append(
            Failure(
                "The training has not been heard of for a quarter of an hour.",
                "If the worker was stopped, start it again: it goes on where it was.",
            )
        )
    outcomes = state.projects.list_attempts(project.id, 1)
    if outcomes and (untrained := explain_training(outcomes[0][0])):
        failures.append(untrained)
    by_reason: dict[str, list[int]] = {}
    for row in left_out:
        by_reason.setdefault(row["reason"], []).append(row["task"])
    failures += join_failures(
        [explain(reason, tuple(tasks)) for reason, tasks in by_reason.items()]
    )
    return failures
