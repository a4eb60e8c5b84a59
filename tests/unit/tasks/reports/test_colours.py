"""The colour of each class."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ml_backend.label_studio.class_names import canonicalize
from tasks.reports.colours import PALETTE, choose_colours, sort_classes


@given(st.lists(st.sampled_from(["Metaphase", "Other", "Tetrad", "x", "y", "AF", "Chromosomes"])))
def test_each_class_has_a_colour_of_its_own(names: list[str]) -> None:
    classes = sort_classes(list({canonicalize(name): name for name in names}.values()))
    found = choose_colours(classes)
    assert list(found) == list(classes) and len(set(found.values())) == len(classes)
    assert set(found.values()) <= set(PALETTE)


def test_the_config_has_the_last_word() -> None:
    other, named = (
        '<Label value="Other" background="#123456"/>',
        '<Label value="x" background="r"/>',
    )
    config = f"<View>{other}{named}</View>"
    assert choose_colours(["Others", "x"], config)["Others"] == "#123456"
