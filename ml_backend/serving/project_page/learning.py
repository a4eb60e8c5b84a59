"""How a project's versions did: the same figures as the command line and the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ml_backend.dataset.corrections import Usefulness, measure_usefulness
from ml_backend.registry.champions import ChampionChange
from ml_backend.registry.versions import Registry, Version
from ml_backend.serving.catalogue.store import Catalogue
from ml_backend.serving.project_page.charts import (
    BinMark,
    Figure,
    Mark,
    place_calibration,
    place_curve,
    rank_heat,
)
from ml_backend.state.projects import Project


@dataclass(frozen=True)
class Change:
    """A cell of the matrix of what was shown and what was submitted.

    Attributes:
        shown: What a version showed; "" for nothing.
        label: What was submitted; "" for nothing.
        count: How many cells.
        heat: The share of its row, 0 to 4.
    """

    shown: str
    label: str
    count: int
    heat: int


@dataclass(frozen=True)
class Learning:
    """What a project has learned.

    Attributes:
        versions: Its versions, newest first.
        champion: The name of the present champion; "" without one.
        earlier: The name of the champion that a rollback would bring back; "" without one.
        curve: F1 of each judged version, at its place.
        judged: The newest version with figures; None without one.
        usefulness: What annotators had to change, newest version first.
        from_nothing: Annotations that started from no pre-annotation.
        labels: The labels of the matrix.
        matrix: A row for each label shown, and one for nothing.
        calibration: The calibration of `judged`, at its place.
    """

    versions: list[Version]
    champion: str
    earlier: str
    curve: list[Mark]
    judged: Version | None
    usefulness: list[Usefulness]
    from_nothing: int
    labels: list[str]
    matrix: list[list[Change]]
    calibration: list[BinMark]


def describe_learning(registry: Registry, project: Project, catalogue: Catalogue) -> Learning:
    """Describe what a project has learned.

    Args:
        registry: The versions.
        project: The project.
        catalogue: What its tasks show.
    """
    versions = registry.list_versions(str(project.id))
    changes = registry.list_changes(str(project.id))
    promoted = {change.version for change in changes}
    figures = [_read_figure(version, version.name in promoted) for version in versions]
    judged = next((v for v in reversed(versions) if v.figures.get("f1") is not None), None)
    usefulness, from_nothing = catalogue.remember(
        "usefulness", lambda: _measure_usefulness(catalogue)
    )
    labels, matrix = make_matrix(catalogue.count_changes())
    bins = (judged.figures.get("calibration") or {}).get("bins", []) if judged else []
    return Learning(
        versions=versions[::-1],
        champion=changes[-1].version if changes else "",
        earlier=find_earlier_champion(changes),
        curve=place_curve(figures),
        judged=judged,
        usefulness=usefulness[::-1],
        from_nothing=from_nothing,
        labels=labels,
        matrix=matrix,
        calibration=place_calibration(bins),
    )


def _measure_usefulness(catalogue: Catalogue) -> tuple[list[Usefulness], int]:
    corrections, from_nothing = catalogue.list_corrections()
    return measure_usefulness(corrections), from_nothing


def _read_figure(version: Version, promoted: bool) -> Figure:
    interval: Any = version.figures.get("f1_interval")
    return Figure(
        version.name,
        version.figures.get("f1"),
        (interval[0], interval[1]) if interval else None,
        version.decision.get("champion_f1"),
        promoted,
    )


def make_matrix(counts: dict[tuple[str, str], int]) -> tuple[list[str], list[list[Change]]]:
    """Lay out what was shown against what was submitted.

    Args:
        counts: Of cells by (shown, submitted); "" is nothing.

    Returns:
        The labels, and a row for each label shown and one for nothing; in a row what was submitted,
        nothing last.
    """
    labels = sorted({name for pair in counts for name in pair if name})
    rows = []
    for shown in (*labels, ""):
        if not any(counts.get((shown, label)) for label in (*labels, "")):
            continue
        total = sum(counts.get((shown, label), 0) for label in (*labels, ""))
        rows.append(
            [
                Change(shown, label, count, rank_heat(count, total))
                for label in (*labels, "")
                for count in [counts.get((shown, label), 0)]
            ]
        )
    return labels, rows


def find_earlier_champion(history: list[ChampionChange]) -> str:
    """Find the champion that a rollback would bring back; "" where there is none."""
    champions: list[str] = []
    for change in history:
        if change.kind == "rollback" and champions:
            champions.pop()
        else:
            champions.append(change.version)
    return champions[-2] if len(champions) > 1 else ""
