"""A connected project as Label Studio has it now, and what its reviewed tiles tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ml_backend.counting.estimates import Figure, ProjectCount, estimate_project
from ml_backend.counting.random_reviews import (
    order_held_out,
    order_randomly,
    power_estimate,
    read_predicted,
    take_beginning,
)
from ml_backend.counting.reviewed import count_classes, list_classes, select_reviewed
from ml_backend.counting.sample import DrawnTile, SampleStore
from ml_backend.dataset.consensus import Policy
from ml_backend.dataset.split import GROUP_FIELDS, read_group
from ml_backend.estimation.estimate import FEWEST_REVIEWED
from ml_backend.estimation.prediction_powered import Refusal
from ml_backend.label_studio.class_names import choose_headline
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.labeling_config import LabelingConfig, parse_labels
from ml_backend.registry.versions import Registry, Version
from ml_backend.settings import Settings
from ml_backend.state.projects import Projects

DRAWN = "drawn by lot, more often where cells are expected"
AT_RANDOM = "reviewed at random"
POWERED = "reviewed at random, with the detector's help (prediction-powered)"


def count_project(project: int, settings: Settings) -> ProjectCount | Refusal:
    """Estimate how many objects a project's tiles hold, by what Label Studio has now.

    Args:
        project: The project's id.
        settings: Of the data folder.

    Returns:
        The estimates, or why there are none.

    Raises:
        NotConnected: The project is not connected to this data folder.
        ValueError: Its labels have nothing to count.
        StudioUnreachable, StudioRefused, ProjectGone, StudioFault: As Label Studio answers.
    """
    connected = Projects(settings.projects_database).get(project)
    studio = Studio(connected.url, connected.token)
    labels = parse_labels(studio.get_project(project).label_config)
    if not list_classes(labels):
        raise ValueError(f"project {project} has no labels to count")
    return count_tasks(project, list(studio.list_tasks(project)), labels, settings)


def count_tasks(
    project: int, tasks: Sequence[dict[str, Any]], labels: LabelingConfig, settings: Settings
) -> ProjectCount | Refusal:
    """Estimate as `count_project` does, from tasks that were read already.

    Args:
        project: The project's id.
        tasks: All of Label Studio's, with annotations and predictions.
        labels: Of the project.
        settings: Of the data folder.
    """
    store = SampleStore(settings.samples_database)
    there = [task["id"] for task in tasks]
    samples = read_samples(tasks)
    if found := count_drawn(project, tasks, there, labels, settings.annotators, store, samples):
        return found
    if Projects(settings.projects_database).get_goal(project) == "count":
        return Refusal("no tiles were drawn yet: keep `cytoloop worker` running")
    registry = Registry.open(settings)
    champion = registry.get_champion(str(project))
    version = registry.get(champion) if champion else None
    return count_at_random(tasks, labels, settings.annotators, version)


def count_drawn(
    project: int,
    annotated: Iterable[dict[str, Any]],
    present: Iterable[int],
    labels: LabelingConfig,
    policy: Policy,
    store: SampleStore,
    samples: Mapping[int, str] | None = None,
) -> ProjectCount | None:
    """Estimate from the tiles of a project that were drawn by lot.

    Args:
        project: The project's id.
        annotated: Label Studio's tasks with annotations; others may be among them.
        present: The ids of all tasks that are there.
        labels: Of the project.
        policy: What counts of several annotators of a task.
        store: Knows what was drawn.
        samples: By task, the scan, sample or slide that it belongs to; what is given gets
            estimates of its own.

    Returns:
        The estimates; None where nothing was drawn.
    """
    drawn = store.list_draws(project)
    if not drawn:
        return None
    claims = store.read_claims(project)
    tiles = select_reviewed(
        drawn,
        count_classes(annotated, labels, policy),
        list_classes(labels),
        choose_headline(list_classes(labels)),
        present=present,
        naive=sum(claim.cells for claim in claims.values()) if claims else None,
        samples=samples,
    )
    return estimate_project(tiles, DRAWN)


def read_samples(tasks: Iterable[dict[str, Any]]) -> dict[int, str]:
    """Read which scan, sample or slide each task belongs to, where its data say so."""
    return {
        task["id"]: str(task["data"][name])
        for task in tasks
        for name in list(filter(task["data"].get, GROUP_FIELDS))[:1]
    }


def count_at_random(
    tasks: Sequence[dict[str, Any]],
    labels: LabelingConfig,
    policy: Policy,
    version: Version | None,
) -> ProjectCount | Refusal:
    """Estimate from the tiles of a project that happen to be a random sample of all.

    Args:
        tasks: All of Label Studio's, with annotations and predictions.
        labels: Of the project.
        policy: What counts of several annotators of a task.
        version: What pre-annotates the project; None where nothing does.
    """
    counts = count_classes(tasks, labels, policy)
    orders = (order_randomly(tasks, labels.image_key), order_held_out(tasks, labels.image_key))
    sample = max((take_beginning(order, counts) for order in orders), key=len)
    if len(sample) < min(FEWEST_REVIEWED, len(tasks)):
        return Refusal(
            f"{len(counts)} of {len(tasks)} tiles were reviewed, but only {len(sample)} of them "
            f"are a random sample of all, and {FEWEST_REVIEWED} are needed: what is reviewed "
            "because it is doubtful says little about the rest. Set the goal: cytoloop connect "
            "--goal count"
        )
    number, classes = len(tasks), list_classes(labels)
    headline = choose_headline(classes)
    drawn = [
        DrawnTile(task, 1 / (number - place), number - place, 0, 0, 0, "by hash")
        for place, task in enumerate(sample)
    ]
    predicted = read_predicted(tasks, version.name) if version else {}
    tiles = select_reviewed(
        drawn,
        counts,
        classes,
        headline,
        present=[task["id"] for task in tasks],
        naive=sum(predicted.values()) if len(predicted) == number else None,
        samples=read_samples(tasks),
    )
    count = estimate_project(tiles, AT_RANDOM)
    if version is None or len(sample) == number:
        return count
    rows = [n for n, name in enumerate(classes) if name in headline]
    powered = power_estimate(
        sample,
        {task: float(found[rows].sum()) for task, found in counts.items()},
        [task["id"] for task in tasks],
        predicted,
        _is_trained_on(version, tasks, labels.image_key),
    )
    if isinstance(powered, Refusal):
        note = f"{version.name} does not help the estimate: {powered.reason}"
        return replace(count, notes=(*count.notes, note))
    figure = Figure(count.headline.what, "count", powered, POWERED, count.headline.naive)
    return replace(count, figures=(*count.figures, figure))


def _is_trained_on(version: Version, tasks: Sequence[dict[str, Any]], image_key: str) -> bool:
    hashes, groups = set(version.seen_hashes), set(version.seen_groups)
    return any(
        task["data"].get("sha256") in hashes
        or read_group(task["data"], str(task["data"].get(image_key))) in groups
        for task in tasks
    )
