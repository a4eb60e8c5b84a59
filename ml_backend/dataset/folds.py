"""Cross-validation folds: corrected tasks of the training side that are lent to judging.

Each is judged by a model that was trained without it, without other tasks of its group, and
without the tiles beside it: images of one sample resemble each other, and neighbours share
cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ml_backend.dataset.snapshot import Item
from ml_backend.dataset.split import hash_to_unit, make_group_matcher


@dataclass(frozen=True)
class Fold:
    """One fold.

    Attributes:
        learned: The tasks that its model is trained on.
        judged: The tasks that its model predicts.
    """

    learned: tuple[Item, ...]
    judged: tuple[Item, ...]

    @property
    def share(self) -> float:
        """The share that its model is trained on, of these tasks and those that it judges, 0..1."""
        return len(self.learned) / (len(self.learned) + len(self.judged))


def make_folds(train: Sequence[Item], judged: Sequence[Item], number: int) -> list[Fold]:
    """Make folds that together judge each of the `judged` tasks once.

    Folds are of whole groups; where all tasks are of one group, of whole images. Each holds
    about as many boxes as the others.

    Args:
        train: All tasks of the training side, the judged ones among them. Those that are not
            judged are learned from in every fold.
        judged: The tasks to judge.
        number: The largest number of folds.

    Returns:
        At most `number` folds; one without anything to learn from is left out.
    """
    several = len({item.group for item in judged}) > 1

    def get_unit(item: Item) -> str:
        return item.group if several else item.image_hash

    sizes: dict[str, int] = {}
    for item in judged:
        sizes[get_unit(item)] = sizes.get(get_unit(item), 0) + 1 + len(item.boxes)
    held: list[set[str]] = [set() for _ in range(min(number, len(sizes)))]
    filled = [0] * len(held)
    for name in sorted(sizes, key=lambda name: (-sizes[name], hash_to_unit(name))):
        emptiest = filled.index(min(filled))
        held[emptiest].add(name)
        filled[emptiest] += sizes[name]

    folds = []
    for names in held:
        of_fold = tuple(item for item in judged if get_unit(item) in names)
        images = {item.image_hash for item in of_fold}
        is_judged = make_group_matcher(item.group for item in of_fold if several)
        learned = tuple(
            item
            for item in train
            if item.image_hash not in images and not any(map(is_judged, item.surroundings))
        )
        if learned:
            folds.append(Fold(learned, of_fold))
    return folds
