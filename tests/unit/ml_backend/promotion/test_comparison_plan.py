"""Which tasks a candidate is compared on, and which models predict them."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings

from ml_backend.dataset.snapshot import Item, Snapshot
from ml_backend.promotion.comparison_plan import plan_comparison
from ml_backend.registry.versions import Version
from tests.unit.ml_backend.dataset.test_folds import BOX, items, leaks


def version(name: str, seen: list[Item]) -> Version:
    hashes = tuple({item.image_hash for item in seen})
    groups = tuple({item.group for item in seen})
    return Version(name, "1", 0.0, seen_hashes=hashes, seen_groups=groups)


@settings(deadline=None)
@given(items(), items("holdout", 100), items(start=200), items(start=300))
def test_nothing_that_either_side_was_trained_on_counts(
    train: list[Item], held: list[Item], champions: list[Item], bases: list[Item]
) -> None:
    snapshot = Snapshot("s", 1, ("Mitotic cell",), (*train, *held), ())
    base, champion = version("base", bases), version("champion", champions)
    candidate = version("candidate", [*train, *bases])
    plan = plan_comparison(snapshot, candidate, [base, champion])
    for item in plan.held_out:
        assert not any(leaks(item, other) for other in (*train, *bases, *champions))
    for fold in plan.folds:
        several = len({item.group for other in plan.folds for item in other.judged}) > 1
        for item in fold.judged:
            assert not any(leaks(item, other) for other in (*bases, *champions))
            assert not any(leaks(item, other, several) for other in fold.learned)
    assert len({item.task for item in plan.items}) == len(plan.items)


def test_no_fold_is_trained_that_is_not_needed() -> None:
    def many(side: str, start: int, number: int) -> list[Item]:
        return [
            Item(n, n, "", "", f"h{n}", f"file:{n}", side, None, "", (BOX,))  # type: ignore[arg-type]
            for n in range(start, start + number)
        ]

    train = many("train", 0, 80)
    candidate, champion = version("candidate", train), version("champion", [])

    def folds_with(held: int, champion: Version = champion) -> int:
        snapshot = Snapshot("s", 1, (), (*train, *many("holdout", 1000, held)), ())
        return len(plan_comparison(snapshot, candidate, [champion]).folds)

    assert [folds_with(held) for held in (0, 20, 59, 60, 99, 100)] == [2, 2, 2, 1, 1, 0]
    # Four new tasks since the champion are not worth a training.
    assert folds_with(0, version("champion", train[4:])) == 0
    assert folds_with(0, version("champion", train[5:])) == 2

    # What goes on from the champion learns in fewer passes, so there is time for a third.
    champion = version("champion", train[40:])
    candidate = replace(version("candidate", train), earlier=champion.name)
    folds = plan_comparison(Snapshot("s", 1, (), tuple(train), ()), candidate, [champion]).folds
    assert [len(fold.judged) for fold in folds] == [14, 13, 13]
    assert [len(fold.learned) for fold in folds] == [66, 67, 67]
