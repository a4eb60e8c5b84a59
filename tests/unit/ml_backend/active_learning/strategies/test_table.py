"""What every strategy in the table keeps to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.active_learning.strategies.base import Candidate, Context
from ml_backend.active_learning.strategies.table import STRATEGIES, UnknownStrategy, find_strategy
from ml_backend.imaging.boxes import Boxes
from ml_backend.settings import Settings

BOX = st.tuples(st.sampled_from(["Metaphase", "Anaphase"]), st.floats(0, 1, width=32))


def make_boxes(found: list[tuple[str, float]]) -> Boxes:
    labels, confidences = [label for label, _ in found], [confidence for _, confidence in found]
    return Boxes(np.tile([0, 0, 9, 9], (len(found), 1)), np.array(labels), np.array(confidences))


CANDIDATES = st.lists(
    st.builds(Candidate, st.text(max_size=20), st.lists(BOX, max_size=5).map(make_boxes)),
    max_size=8,
)
CONTEXTS = st.builds(Context, st.floats(0, 1), foreground_share=st.floats(0, 1))


def test_the_default_is_in_the_table() -> None:
    assert find_strategy(Settings.model_fields["strategy"].default).name == "foreground"
    assert all(strategy.name == name for name, strategy in STRATEGIES.items())


def test_an_unknown_name_lists_those_that_there_are() -> None:
    with pytest.raises(UnknownStrategy, match="'chance'.*CYTOLOOP_STRATEGY.*certainty, random"):
        find_strategy("chance")


@pytest.mark.parametrize("name", STRATEGIES)
@given(candidates=CANDIDATES, context=CONTEXTS)
def test_scores_lie_between_0_and_1_and_are_the_same_again(
    name: str, candidates: list[Candidate], context: Context
) -> None:
    score = STRATEGIES[name].score
    scores = score(candidates, context)
    assert scores.shape == (len(candidates),) and scores.dtype == np.float64
    assert ((scores >= 0) & (scores <= 1)).all()
    assert scores.tolist() == score(candidates, context).tolist()


@pytest.mark.parametrize(
    "name", [strategy.name for strategy in STRATEGIES.values() if not strategy.whole]
)
@given(candidates=CANDIDATES, context=CONTEXTS, cut=st.integers(0, 8))
def test_a_streamed_queue_is_scored_as_a_whole_one(
    name: str, candidates: list[Candidate], context: Context, cut: int
) -> None:
    score = STRATEGIES[name].score
    parts = [score(candidates[:cut], context), score(candidates[cut:], context)]
    assert np.concatenate(parts).tolist() == score(candidates, context).tolist()
