"""The simulation of a labelled folder: all strategies and seeds, and the files that come of it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ml_backend import __version__
from ml_backend.active_learning.strategies.table import find_any_strategy
from ml_backend.dataset.example import Example
from ml_backend.dataset.folder import read_folder
from ml_backend.dataset.split import hash_to_unit
from ml_backend.learners.kinds import find_learner
from ml_backend.learners.model_file import DETECTOR
from ml_backend.registry import resolve
from ml_backend.registry.versions import Registry
from ml_backend.simulation import files
from ml_backend.simulation.curves import Curve, summarize
from ml_backend.simulation.lab import Lab
from ml_backend.simulation.run import make_curve, run_rounds
from ml_backend.simulation.tiles import cut_into_tiles
from ml_backend.system.atomic_files import read_json, write_json

# The share of the groups that is kept apart for judging.
JUDGED_SHARE = 1 / 3


@dataclass(frozen=True)
class Plan:
    """What is simulated.

    Attributes:
        dataset: The labelled folder.
        strategies: The names of those that are compared.
        tile: The side in px of the tiles that the images are cut into; None to leave them whole.
        seeds: How many times, each with other groups kept apart.
        batch: Images a round.
        rounds: How many rounds.
        base: What every training starts from, as the user names a model.
        epochs: Passes of a training; the recipe's own where None.
    """

    dataset: Path
    strategies: tuple[str, ...]
    tile: int | None = None
    seeds: int = 5
    batch: int = 20
    rounds: int = 5
    base: str = resolve.DEFAULT_MODEL
    epochs: int | None = None


def simulate(
    plan: Plan,
    registry: Registry,
    folder: Path,
    progress: Callable[[float, float | None], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Simulate a loop for each strategy and seed, from where it was left.

    Args:
        plan: What is simulated.
        registry: Of the data folder.
        folder: For all simulations; each gets a folder in it, by what its runs depend on. More
            seeds, rounds or strategies continue an earlier one.
        progress: Called with the images that versions learned from until now, and in all.

    Returns:
        See `curves.summarize`; with `folder`, where the curves lie as CSV and picture, `images`,
        `full` (F1 of versions that learned from everything, by seed) and `skipped`.

    Raises:
        ValueError: There is nothing to simulate with; one line says what to do.
        UnknownStrategy: A strategy does not exist.
        TrainingFailed: A training made no version.
    """
    strategies = [find_any_strategy(name) for name in plan.strategies]
    found = read_folder(plan.dataset)
    labelled = [example for example in found.examples if example.boxes is not None]
    if not find_learner(DETECTOR).choose_headline(found.classes):
        raise ValueError(
            f"{plan.dataset} has no box of a headline class{found.describe_first_fault()}; "
            "a simulation needs images with boxes"
        )
    folder = folder / _name_simulation(plan, labelled)
    skipped = list(found.skipped)
    if plan.tile:
        labelled, unread = cut_into_tiles(labelled, plan.tile, folder / "tiles")
        skipped += unread
    weights, _ = resolve.find_base(plan.base, registry)
    if weights is None:
        raise ValueError("a simulation starts from a model; name one with --from")
    served = registry.get_folder(resolve.resolve_model(plan.base, registry).name)
    root = folder / "tiles" if plan.tile else plan.dataset.absolute()
    labs = [
        _open_lab(plan, labelled, root, found.classes, weights, served, folder, seed)
        for seed in range(plan.seeds)
    ]
    learned = 0
    total = sum(len(lab.pool) + _count_shown(plan, len(lab.pool)) for lab in labs)

    def advance(images: int) -> None:
        nonlocal learned
        learned += images
        progress(learned, total)

    curves: dict[str, dict[int, Curve]] = {strategy.name: {} for strategy in strategies}
    full: dict[int, float] = {}

    def write() -> dict[str, Any]:
        known = {name: seeds for name, seeds in curves.items() if seeds}
        result = {**summarize(known, full), "full": full, "images": len(labelled)}
        files.write_files(folder, known, result)
        return result

    for lab in labs:
        for strategy in strategies:
            rounds = run_rounds(lab, strategy, plan.batch, plan.rounds, advance)
            curves[strategy.name][lab.seed] = make_curve(rounds)
            write()
    for lab in labs:
        full[lab.seed] = _learn_everything(lab)
        advance(len(lab.pool))
        write()
    rows = [{"source": str(source), "reason": reason} for source, reason in skipped]
    return {**write(), "folder": str(folder), "skipped": rows}


def split_groups(groups: Sequence[str], seed: int) -> set[str]:
    """Choose the groups that are kept apart, a third of them, at least one.

    Args:
        groups: In any order, with or without repeats.
        seed: Another seed is another choice, the same on every machine.

    Raises:
        ValueError: All are one group.
    """
    names = sorted(
        set(groups), key=lambda group: hash_to_unit(f"cytoloop simulation/{seed}/{group}")
    )
    if len(names) < 2:
        raise ValueError(
            "all images are of one group, so none can be kept apart for judging; name their "
            "samples in image_labels.csv"
        )
    return set(names[: max(1, round(len(names) * JUDGED_SHARE))])


def _open_lab(
    plan: Plan,
    examples: Sequence[Example],
    root: Path,
    classes: tuple[str, ...],
    weights: Path,
    served: Path,
    folder: Path,
    seed: int,
) -> Lab:
    judged = split_groups([example.group for example in examples], seed)
    return Lab(
        pool={
            example.image.relative_to(root).as_posix(): example
            for example in examples
            if example.group not in judged
        },
        judged=[example for example in examples if example.group in judged],
        classes=classes,
        base=weights,
        served=served,
        epochs=plan.epochs,
        seed=seed,
        folder=folder / f"seed-{seed}",
    )


def _count_shown(plan: Plan, pool: int) -> int:
    """How many images the versions of a seed learn from, added up."""
    steps = range(1, plan.rounds + 1)
    return len(plan.strategies) * sum(min(pool, number * plan.batch) for number in steps)


def _learn_everything(lab: Lab) -> float:
    """The F1 of a version that learned from the whole pool."""
    path = lab.folder / "full.json"
    known = read_json(path)
    if known is None:
        version = lab.train(list(lab.pool.values()), lab.folder / "full")
        known = lab.judge(version)
        write_json(path, known)
        shutil.rmtree(version, ignore_errors=True)
    return float(known["f1"] or 0.0)


def _name_simulation(plan: Plan, examples: Sequence[Example]) -> str:
    """Name a simulation by what its runs depend on, without how many there are."""
    content = {
        **{k: v for k, v in asdict(plan).items() if k in ("tile", "batch", "base", "epochs")},
        "recipe": dict(find_learner(DETECTOR).recipe),
        "release": __version__,
        "examples": [
            (e.image.name, e.group, e.boxes.to_rows(), e.ignored.tolist())
            for e in examples
            if e.boxes is not None
        ],
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
    return f"{plan.dataset.absolute().name}-{digest}"
