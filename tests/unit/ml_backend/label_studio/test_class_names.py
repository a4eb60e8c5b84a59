"""Many spellings of a class, one name."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ml_backend.label_studio.class_names import (
    STAGES,
    canonicalize,
    choose_headline,
    fold,
    is_clutter,
    is_mitotic,
    unify_spelling,
)

names = st.text("aA-_ bB", min_size=1, max_size=6)


def test_the_fields_names_mean_one_class() -> None:
    for name in ("Chromosomes", "mitosis", "Mitotic_figure", " MITOTIC  cell ", "mitotic-cells"):
        assert canonicalize(name) == "Mitotic cell"
    assert canonicalize("Others") == canonicalize("debris") == "Other"
    assert canonicalize("Metaphase plate") == canonicalize("MF") == "Metaphase"
    assert canonicalize("prometaphase") == "Prophase"
    assert canonicalize("Tetrads") == "Tetrad"
    assert canonicalize("RBC") == canonicalize("rbc") != canonicalize("WBC")


def test_headline_classes_are_all_but_clutter() -> None:
    assert choose_headline(("Mitotic cell", "Other")) == ("Mitotic cell",)
    assert choose_headline(("Chromosomes", "Others")) == ("Chromosomes",)
    assert choose_headline(("Interphase", *STAGES)) == STAGES
    assert choose_headline(("Tetrad", "Dyad")) == ("Tetrad", "Dyad")
    assert choose_headline(("RBC", "background", "Debris", "interphase")) == ("RBC",)
    assert not is_clutter("Chromosomes")


def test_stages_are_mitotic_and_clutter_is_not() -> None:
    assert all(map(is_mitotic, STAGES))
    assert not any(map(is_mitotic, ("Interphase", "debris", "Tetrad")))


@given(names)
def test_folding_and_the_canonical_name_are_stable(name: str) -> None:
    assert fold(fold(name)) == fold(name)
    assert canonicalize(canonicalize(name)) == canonicalize(name) == canonicalize(name.swapcase())


@given(st.lists(names, max_size=20))
def test_a_spelling_is_one_of_the_most_frequent_of_its_class(given_names: list[str]) -> None:
    counts = Counter(given_names)
    spelling = unify_spelling(given_names)
    assert spelling.keys() == counts.keys()
    for name, chosen in spelling.items():
        same = [other for other in counts if fold(other) == fold(name)]
        assert chosen in same
        assert counts[chosen] == max(counts[other] for other in same)
        assert spelling[chosen] == chosen
