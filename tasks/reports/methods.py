"""The methods section of a paper: how a project's version was made and judged, with figures.

Every number comes from the version's record, its model file and its snapshot, which are kept; what
is not known is not written.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ml_backend import __version__
from ml_backend.dataset.snapshot import load_snapshot
from ml_backend.evaluation.bootstrap import RESAMPLES
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.inspection import ask_release
from ml_backend.learners.model_file import ModelCard
from ml_backend.registry.starters import PREFIX
from ml_backend.registry.versions import Registry, Version
from ml_backend.settings import Settings
from ml_backend.state.projects import Projects
from ml_backend.system.plurals import format_count

# What a reader needs to know the version of, of the packages that are installed.
_PACKAGES = ("torch", "ultralytics", "openvino", "numpy")

CITATIONS = (
    "Nagaki K. et al. Effectiveness of Create ML in microscopy image classifications: a simple and "
    "inexpensive deep learning pipeline for non-data scientists. Chromosome Research (2021). "
    "doi:10.1007/s10577-021-09676-z",
    "Tkachenko M, Malyuk M, Holmanyuk A, Liubimov N. Label Studio: data labeling software. "
    "https://github.com/HumanSignal/label-studio",
    "Efron B, Tibshirani R. An Introduction to the Bootstrap. Chapman & Hall (1993).",
)
# By the beginning of an architecture's name.
_OF_ARCHITECTURES = {
    "yolo": "Jocher G. YOLOv5 by Ultralytics (2020). doi:10.5281/zenodo.3908559",
    "efficientnet": "Tan M, Le QV. EfficientNet: rethinking model scaling for convolutional neural "
    "networks. ICML (2019). arXiv:1905.11946",
}

_FIGURES = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "ap50": "AP50",
    "ap50_95": "AP50-95",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
}


class NothingToDescribe(LookupError):
    """The project has no version yet that was trained on its corrections."""


@dataclass(frozen=True)
class Method:
    """How a version was made and judged.

    Attributes:
        title: The project's title.
        version: Its record.
        card: Of its model file.
        summary: Of the snapshot that it was trained on, see `Snapshot.summarize`; None where the
            snapshot is not kept.
        software: Names of programs and their versions.
    """

    title: str
    version: Version
    card: ModelCard
    summary: Mapping[str, Any] | None
    software: Mapping[str, str]


def read_method(project: int, settings: Settings) -> Method:
    """Read how the champion of a project was made.

    Args:
        project: The project's id in Label Studio, which is asked for its release.
        settings: Of the data folder.

    Raises:
        NotConnected: The project is not connected to this data folder.
        NothingToDescribe: Its champion was not trained here.
        StudioUnreachable, StudioRefused, ProjectGone, StudioFault: As Label Studio answers.
    """
    connected = Projects(settings.projects_database).get(project)
    registry = Registry.open(settings)
    name = registry.get_champion(str(project))
    if name is None or not (champion := registry.get(name)).snapshot:
        raise NothingToDescribe(
            f"{name or 'nothing'} pre-annotates project {project}, and was not trained on its "
            "corrections: correct some tasks first, cytoloop train "
            f"--project {project}, then write the methods of what came of it"
        )
    snapshot = load_snapshot(champion.snapshot, settings.snapshots)
    studio = Studio(connected.url, connected.token)
    software = {"cytoloop": __version__, "Label Studio": ask_release(studio.session)}
    return Method(
        connected.title,
        champion,
        registry.read_card(name),
        snapshot.summarize() if snapshot else None,
        software | list_software(),
    )


def list_software() -> dict[str, str]:
    """List the programs that compute, with their versions."""
    found = {"Python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_methods(method: Method) -> str:
    """Write the methods section, in Markdown: annotation, model, evaluation, software, citations.

    Figures are given with 95 % intervals where there are enough groups of images for one.
    """
    paragraphs = [
        f"## Methods: {method.title}",
        *_describe_annotation(method),
        *_describe_model(method),
        *_describe_evaluation(method),
        _describe_software(method),
        "### References",
        "\n".join(f"- {citation}" for citation in _list_citations(method.card)),
    ]
    return "\n\n".join(paragraphs)


def _describe_annotation(method: Method) -> Iterator[str]:
    summary = method.summary
    if summary is None:
        return
    tasks, boxes = summary["tasks"], summary["boxes_by_side"]
    text = (
        f"**Annotation.** Images were annotated in Label Studio with cytoloop, which shows boxes "
        f"of its present model for correction. {format_count(sum(tasks.values()), 'image')} had "
        f"been corrected when the model was trained: {tasks['train']} for training "
        f"({_list_counts(boxes['train'])}) and {tasks['holdout']} held out "
        f"({_list_counts(boxes['holdout'])}). Which images were held out was decided by a hash of "
        "the sample (or the file) before anything was drawn on them."
    )
    if summary.get("several_annotators"):
        text += (
            f" {summary['several_annotators']} images were annotated by several people, who agreed "
            f"to {summary['agreement']:.1%} (mean F1 of all pairs of annotators)."
        )
    yield text


def _describe_model(method: Method) -> Iterator[str]:
    version, card = method.version, method.card
    base = version.base or "weights pretrained on natural images"
    if base.startswith(PREFIX):
        base = f"the starter {base.removeprefix(PREFIX)!r} that is shipped with cytoloop"
    if version.earlier:
        base += (
            ", and where more than its head learned from the mean of these weights and those of "
            f"version {version.earlier}"
        )
    text = (
        f"**Model.** Version {version.name} is a {card.kind} ({card.architecture}) for "
        f"{', '.join(card.classes)}, trained from {base}. It, or a model that it was trained from, "
        f"has seen {format_count(len(version.seen_hashes), 'image')}. It reads images at "
        f"{card.scale:.3g} of their size and counts what it is at least "
        f"{card.threshold:.2f} confident of."
    )
    if card.input_um:
        text += f" One pixel of its training images shows {card.input_um * card.scale:.3g} µm."
    yield text


def _describe_evaluation(method: Method) -> Iterator[str]:
    figures, decision = method.version.figures, method.version.decision
    if figures.get("f1") is None:
        yield (
            "**Evaluation.** The version has not been judged: no corrected image was left that it "
            "was not trained on. Correct held-out images before figures are published."
        )
        return
    text = (
        f"**Evaluation.** The figures are of {format_count(figures['images'], 'image')} in "
        f"{format_count(figures['groups'], 'group')} (samples or files), none of which "
        "what answered for it was trained on."
    )
    if folds := decision.get("folds"):
        text += (
            f" While few held-out images were corrected, training images were judged too: for each "
            f"answered one of {folds} models of the same recipe that was trained without it "
            f"(cross-validation in {folds} folds)."
        )
    if "ap50" in figures:
        text += (
            " A box counts as right where its intersection over union with a marked box of its "
            "class is at least 0.5; each marked box is matched once."
        )
    text += (
        f" Intervals are 95 % percentile bootstrap intervals over {RESAMPLES} resamples of whole "
        "groups; where fewer than eight groups contribute, none is given."
    )
    yield text
    yield _draw_table(figures)
    if (champion := decision.get("champion")) and decision.get("champion_f1") is not None:
        yield (
            f"The version before it, {champion}, reached F1 {decision['champion_f1']:.3f} on the "
            "same images."
        )
    if decision.get("provisional"):
        yield "Fewer than 100 images were judged, so the comparison of the two is provisional."


def _draw_table(figures: Mapping[str, Any]) -> str:
    rows = [("all", figures), *figures["classes"].items()]
    shown = [name for name in _FIGURES if any(row.get(name) is not None for _, row in rows)]
    lines = [
        f"| class | marked | {' | '.join(_FIGURES[name] for name in shown)} |",
        f"| --- | ---: |{' --- |' * len(shown)}",
    ]
    for label, row in rows:
        cells = " | ".join(_format_figure(row, name) for name in shown)
        lines.append(f"| {label} | {row.get('truths', '')} | {cells} |")
    return "\n".join(lines)


def _format_figure(row: Mapping[str, Any], name: str) -> str:
    value, interval = row.get(name), row.get(f"{name}_interval")
    if value is None:
        return ""
    return f"{value:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")


def _describe_software(method: Method) -> str:
    programs = ", ".join(f"{name} {number}" for name, number in method.software.items() if number)
    return f"**Software.** {programs}."


def _list_citations(card: ModelCard) -> list[str]:
    of_network = [
        citation
        for start, citation in _OF_ARCHITECTURES.items()
        if card.architecture.lower().startswith(start)
    ]
    return [*CITATIONS, *of_network]


def _list_counts(counts: Mapping[str, int]) -> str:
    marked = [f"{label}: {count}" for label, count in counts.items() if count]
    return ", ".join(marked) or "no marks"
