"""How often a candidate is promoted that is truly better, or truly worse: the table of odds.

    uv run python benchmarks/promotion_odds.py [--draws 2000] [--measure]

Projects are simulated: tasks with a few objects each, a champion and a candidate that find
or miss the same objects with a known true F1. The product's own `decide_promotion` then says
which one serves. Beside it, in the same run, the naive rule: promote what has the higher F1.

--measure trains pairs of detectors on the real images beside the project and prints how
alike they are in what they find: where the first world's numbers come from (a few minutes).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.evaluation.class_matches import MatchCounts
from ml_backend.imaging.boxes import compute_iou
from ml_backend.label_studio.class_names import choose_headline
from ml_backend.promotion.decision import RULE, JudgedVersion, PromotionRule, decide_promotion

DATA = Path(__file__).parents[2] / "shared" / "data"
TASKS = (20, 40, 100, 200)
POINTS = (10, 5, 0, -5)


@dataclass(frozen=True)
class World:
    """What the simulated projects are like.

    objects: how many an image holds; one of these numbers, drawn for each.
    f1: the champion's true F1; it misses as many objects as it draws wrong boxes.
    shared: how much it is a matter of the object, and not of the detector, whether it is
        found: the correlation of what the two make of it (0..1).
    grouped: the part of that which all objects of a group have in common.
    shared_wrong: share of the wrong boxes that both draw.
    group: tasks of one group; 1 where every file stands for itself.
    """

    objects: Sequence[int] = (0,) * 7 + (1,) * 45 + (2,) * 7 + (4,)
    f1: float = 0.8
    shared: float = 0.85
    grouped: float = 0.15
    shared_wrong: float = 0.5
    group: int = 1


WORLDS = {
    "as measured on real images: about one mitotic cell an image": World(),
    "the same in samples of 4 tasks, which resemble each other": World(group=4),
    "the same in samples of 10 tasks": World(group=10),
    "detectors less alike in what they find": World(shared=0.7),
    "a weaker champion, F1 0.6": World(f1=0.6),
    "three objects an image": World((1, 2, 3, 4, 5)),
}


def project(
    world: World, tasks: int, points: float, random: np.random.Generator
) -> tuple[JudgedVersion, JudgedVersion, list[str]]:
    """A champion, a candidate whose true F1 is `points` higher, and the tasks' groups."""
    group = np.arange(tasks) // world.group
    objects = random.choice(world.objects, tasks)
    owner = np.repeat(np.arange(tasks), objects)
    common = np.sqrt(world.grouped) * random.standard_normal(group[-1] + 1)[group[owner]]
    common += np.sqrt(world.shared - world.grouped) * random.standard_normal(len(owner))
    quality = np.array([world.f1, world.f1 + points / 100])
    rates = np.mean(world.objects) * (1 - quality)
    rate_of_both = world.shared_wrong * rates.min()
    both = random.poisson(rate_of_both, tasks)
    sides = []
    for name, share, rate in zip(("champion", "candidate"), quality, rates, strict=True):
        ease = common + np.sqrt(1 - world.shared) * random.standard_normal(len(owner))
        right = np.bincount(owner[ease < NormalDist().inv_cdf(share)], minlength=tasks)
        wrong = both + random.poisson(rate - rate_of_both, tasks)
        columns = (right[:, None], wrong[:, None], (objects - right)[:, None])
        sides.append(JudgedVersion(name, MatchCounts(("cell",), *columns)))
    return sides[0], sides[1], [str(number) for number in group]


def odds(
    world: World, tasks: int, points: float, draws: int, rule: PromotionRule = RULE
) -> tuple[float, float]:
    """The share of simulated projects that promote the candidate: by the rule, naively."""
    random = np.random.default_rng([tasks, round(100 + points)])
    promoted = naive = 0
    for _ in range(draws):
        decision = decide_promotion(*project(world, tasks, points, random), rule=rule)
        promoted += decision.promoted
        naive += (decision.difference or 0) > 0
    return promoted / draws, naive / draws


def table(world: World, draws: int) -> None:
    """The odds by judged tasks and true difference, in percent, the naive rule's in brackets."""
    print("\n| judged tasks | " + " | ".join(f"{points:+d} points" for points in POINTS) + " |")
    print("| --- " * (1 + len(POINTS)) + "|")
    for tasks in TASKS:
        cells = [odds(world, tasks, points, draws) for points in POINTS]
        shown = (f"{100 * rule:.1f} ({100 * naive:.1f})" for rule, naive in cells)
        print(f"| {tasks} | " + " | ".join(shown) + " |", flush=True)


def measure() -> None:
    """How alike two detectors are on images of samples that neither was trained on.

    Two halves of the samples; on each half two detectors are trained, with other seeds and
    one of them on every second image only, and both look at the other half.
    """
    from ml_backend.dataset.folder import read_folder

    found = read_folder(DATA / "plant_mitosis")
    names = sorted({example.group for example in found.examples})
    hits: list[np.ndarray] = []
    group: list[str] = []
    wrong = np.zeros(3, int)
    for half in (set(names[::2]), set(names[1::2])):
        learn = [e for e in found.examples if e.group in half]
        test = [e for e in found.examples if e.group not in half]
        first, second = (looked(found.classes, learn[:: 1 + seed], test, seed) for seed in range(2))
        for example, mine, other in zip(test, first, second, strict=True):
            boxes = example.boxes
            assert boxes is not None
            true = boxes.xyxy[np.isin(boxes.label, choose_headline(found.classes))]
            reached = [
                compute_iou(true, drawn).max(axis=1, initial=0) >= 0.5 for drawn in (mine, other)
            ]
            hits += list(zip(*reached, strict=True))
            group += [example.group] * len(true)
            off = [
                drawn[
                    compute_iou(drawn, np.concatenate([true, example.ignored])).max(
                        axis=1, initial=0
                    )
                    < 0.5
                ]
                for drawn in (mine, other)
            ]
            same = (compute_iou(off[0], off[1]).max(axis=1, initial=0) >= 0.5).sum()
            wrong += [len(off[0]), len(off[1]), same]
    pairs = np.array(hits)
    members = np.array(group)
    share = pairs.mean(axis=0)
    alike = correlation(share, (pairs[:, 0] & pairs[:, 1]).mean())
    mates = (members[:, None] == members[None, :]) & ~np.eye(len(members), dtype=bool)
    together = (pairs[:, 0][:, None] & pairs[:, 0][None, :])[mates].mean()
    told = {
        "objects": len(pairs),
        "images": len(found.examples),
        "found by the first": share[0],
        "found by the second": share[1],
        "found by both": (pairs[:, 0] & pairs[:, 1]).mean(),
        "wrong boxes of the first": wrong[0],
        "wrong boxes of the second": wrong[1],
        "wrong boxes of both": wrong[2],
        "shared": alike,
        "grouped": correlation(share[[0, 0]], together),
        "shared_wrong": wrong[2] / max(min(wrong[:2]), 1),
    }
    for name, value in told.items():
        print(f"  {name:26} {value:.3f}" if isinstance(value, float) else f"  {name:26} {value}")


def looked(
    classes: tuple[str, ...], learn: list[Example], test: list[Example], seed: int
) -> list[np.ndarray]:
    """The headline boxes that a detector trained on `learn` draws on each test image."""
    from ml_backend.learners.detector.inference import Detector
    from ml_backend.learners.training_child import run_in_child
    from ml_backend.learners.training_job import TrainingJob
    from ml_backend.promotion.predict_examples import predict_examples

    with tempfile.TemporaryDirectory() as folder:
        base = DATA / "weights" / "yolov5n_coco_fp16.npz"
        job = TrainingJob(
            learn, classes, choose_headline(classes), base, Path(folder), epochs=40, seed=seed
        )
        run_in_child(job, lambda step: None)
        detector = Detector.load(job.out)
        _, drawn, _ = predict_examples(detector, test)
    card = detector.card
    return [
        boxes.xyxy[np.isin(boxes.label, card.headline) & (boxes.confidence >= card.threshold)]
        for boxes in (prediction.boxes for prediction in drawn)
    ]


def correlation(share: np.ndarray, both: float) -> float:
    """Of two normal variables that lie below their quantiles together so often (tetrachoric)."""
    from scipy.optimize import brentq
    from scipy.special import ndtri
    from scipy.stats import multivariate_normal

    cuts = ndtri(np.clip(share, 1e-3, 1 - 1e-3))

    def excess(rho: float) -> float:
        return float(multivariate_normal.cdf(cuts, cov=[[1, rho], [rho, 1]])) - both

    if excess(0.0) > 0:
        return 0.0
    return 0.99 if excess(0.99) < 0 else float(brentq(excess, 0.0, 0.99))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--draws", type=int, default=2000)
    arguments.add_argument("--measure", action="store_true")
    asked = arguments.parse_args()
    if asked.measure:
        if not DATA.is_dir():
            sys.exit(f"the real images are not at {DATA}")
        measure()
        return
    print(f"{RULE}\n{asked.draws} projects a cell; promoted by the rule (naively), percent")
    for name, world in WORLDS.items():
        print(f"\n{name}: {world}")
        table(world, asked.draws)


if __name__ == "__main__":
    main()
