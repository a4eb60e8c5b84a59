"""Corrected tasks lent from training to judging: each is judged by a model that left it out.

A fold's model learns nothing from what it judges, nor from other tasks of its groups, nor
from the tiles beside it: images of one sample resemble each other, and neighbours share cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ml_backend.dataset.snapshot import Item
from ml_backend.dataset.split import known_in, unit_hash


@dataclass(frozen=True)
class Fold:
    """learned: the tasks that its model is trained on. judged: those that it answers for."""

    learned: tuple[Item, ...]
    judged: tuple[Item, ...]


def folds(train: Sequence[Item], judged: Sequence[Item], number: int) -> list[Fold]:
    """At most `number` folds that together judge each of the `judged` once.

    train: all tasks of the training side, the judged ones among them. What is not judged is
    learned from in every fold. Folds are of whole groups; where all tasks are of one group,
    of whole images. Each holds about as many boxes as the others. A fold without anything
    to learn from is left out.
    """
    several = len({item.group for item in judged}) > 1

    def unit(item: Item) -> str:
        return item.group if several else item.image_hash

    sizes: dict[str, int] = {}
    for item in judged:
        sizes[unit(item)] = sizes.get(unit(item), 0) + 1 + len(item.boxes)
    held: list[set[str]] = [set() for _ in range(min(number, len(sizes)))]
    for name in sorted(sizes, key=lambda name: (-sizes[name], unit_hash(name))):
        min(held, key=lambda names: sum(sizes[one] for one in names)).add(name)

    made = []
    for names in held:
        mine = tuple(item for item in judged if unit(item) in names)
        images = {item.image_hash for item in mine}
        shown = known_in(item.group for item in mine if several)
        learned = tuple(
            item
            for item in train
            if item.image_hash not in images and not any(map(shown, item.surroundings))
        )
        if learned:
            made.append(Fold(learned, mine))
    return made
