"""How long a refinement lasts, and at which size, by how much there is to learn from."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ml_backend.learners.classifier.hyperparameters import (
    FEWEST_PASSES,
    MOST_LOOKS,
    SIDES,
    choose_recipe,
)


@given(st.integers(1, 100_000), st.floats(1, 5000))
def test_more_images_never_make_a_training_shorter_or_endless(count: int, side: float) -> None:
    recipe, next_one = choose_recipe(count, side), choose_recipe(count + 1, side)
    assert SIDES[0] <= recipe.size <= SIDES[1] and recipe.size % 32 == 0
    looks = recipe.steps * recipe.batch
    assert looks <= max(60 * recipe.batch, MOST_LOOKS, FEWEST_PASSES * count)
    assert next_one.steps * next_one.batch >= looks - next_one.batch
    assert looks > FEWEST_PASSES * count - recipe.batch


@given(st.integers(1, 5000), st.integers(1, 50))
def test_who_asks_for_passes_gets_them(count: int, epochs: int) -> None:
    recipe = choose_recipe(count, 64.0, epochs=epochs)
    assert recipe.steps == max(1, epochs * count // recipe.batch)
