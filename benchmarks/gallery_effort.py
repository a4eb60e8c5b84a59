"""What reviewing detections costs, task by task and in the gallery: clicks, keys, modelled seconds.

    uv run python benchmarks/gallery_effort.py

No person is measured. The actions are those that the two ways need, as the browser tests do them
(`tests/e2e`), and their times are those of the keystroke-level model (Card, Moran and Newell 1980,
doi 10.1145/358886.358895). That model has no time for a look: 0.8 s is assumed in both ways. What
is won where a look among cells that are alike takes less is printed beside it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

KEY, POINT, CLICK, THINK = 0.28, 1.1, 0.2, 1.35  # of the model, s
LOOK = 0.8  # at a cell, s
QUICKER = (0.4, 0.2)  # at a cell among others that are alike, s
OPEN = 1.5  # until Label Studio shows the next task, s; seen on two cores
SPREAD = 240  # cells on a page of the gallery


@dataclass(frozen=True)
class Effort:
    """What one way costs.

    Attributes:
        actions: Clicks and keys.
        seconds: All of it.
    """

    actions: int
    seconds: float


def review_in_tasks(cells: int, wrong: int, each: int) -> Effort:
    """Review in the labeling screen: select and delete what is wrong, then submit each task."""
    tasks = -(-cells // each)
    looking = cells * LOOK + tasks * (OPEN + THINK)
    deleting = wrong * (POINT + CLICK + KEY + THINK)
    submitting = tasks * 2 * KEY  # its hotkey, Ctrl and Enter
    return Effort(2 * wrong + tasks, looking + deleting + submitting)


def review_one_by_one(cells: int) -> Effort:
    """Review in the gallery with a key for every cell."""
    return Effort(cells, cells * (LOOK + KEY) + _open_pages(cells))


def review_at_a_stroke(cells: int, wrong: int, look: float = LOOK) -> Effort:
    """Review in the gallery: reject what is wrong, then choose all and confirm the others."""
    # A wrong cell is chosen by a click; one key rejects them, one chooses all, one confirms.
    choosing = wrong * (POINT + CLICK)
    strokes = 3 * KEY + THINK
    return Effort(wrong + 3, cells * look + choosing + strokes + _open_pages(cells))


def _open_pages(cells: int) -> float:
    return -(-cells // SPREAD) * (1.0 + THINK)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--cells", type=int, default=200)
    options.add_argument("--wrong", type=int, default=20)
    options.add_argument("--each", type=int, default=4, help="cells in a task")
    chosen = options.parse_args()
    alone = review_in_tasks(chosen.cells, chosen.wrong, 1)
    together = review_in_tasks(chosen.cells, chosen.wrong, chosen.each)
    efforts = {
        "task by task, one cell each": alone,
        f"task by task, {chosen.each} cells each": together,
        "gallery, one key a cell": review_one_by_one(chosen.cells),
        "gallery, at a stroke": review_at_a_stroke(chosen.cells, chosen.wrong),
    }
    for look in QUICKER:
        effort = review_at_a_stroke(chosen.cells, chosen.wrong, look)
        efforts[f"the same, {look} s a look"] = effort
    for name, effort in efforts.items():
        print(
            f"{name:28} {effort.actions:4} clicks and keys, {effort.seconds:4.0f} s, "
            f"{alone.seconds / effort.seconds:4.1f} and {together.seconds / effort.seconds:4.1f} "
            "times as fast as the first two"
        )
    print(f"looks alone: {chosen.cells * LOOK:.0f} s of each but the last two")


if __name__ == "__main__":
    main()
