"""The names of classes: many spellings, one meaning.

Annotators, other programs and starters call one thing by many names. Two names mean the same
class exactly when `canonicalize` gives the same for both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

# What people call the classes that the ready-made configs and starters know. Prometaphase
# counts as prophase: with five phases its chromosomes, condensed and not yet in a plate,
# are nearest to it. The two-letter codes are those of cell cycle tables (PF, PM, MF, ...).
_ALIASES = {
    "Mitotic cell": "chromosomes, chromosome, mitosis, mitoses, mitotic, mitotic cells, "
    "mitotic figure, mitotic figures, dividing cell, dividing cells, dividing",
    "Other": "others, other cell, other cells, debris, background, clutter, artefact, artifact, "
    "artefacts, artifacts, non mitotic, not mitotic, nonmitotic, not a cell, nc, negative, "
    "none, nothing, other: interphase nuclei and debris, interphase nuclei and debris",
    "Interphase": "interphase nucleus, interphase nuclei, interphase cell, interphase cells, "
    "g0, g1, g2",
    "Prophase": "prophases, prometaphase, pro metaphase, pf, pm",
    "Metaphase": "metaphases, metaphase plate, metaphase plates, mf",
    "Anaphase": "anaphases, af",
    "Telophase": "telophases, tf",
    "Tetrad": "tetrads",
    "Triad": "triads",
    "Dyad": "dyads",
    "Monad": "monads",
}

_CLUTTER = frozenset({"Other", "Interphase"})
STAGES = ("Prophase", "Metaphase", "Anaphase", "Telophase")


def fold(name: str) -> str:
    """Remove what does not tell names apart: case, hyphens, underscores and repeated spaces."""
    return " ".join(name.replace("_", " ").replace("-", " ").casefold().split())


_CANONICAL = {
    fold(alias): name
    for name, aliases in _ALIASES.items()
    for alias in (name, *aliases.split(", "))
}


def canonicalize(name: str) -> str:
    """Give the standard name of a class: 'Chromosomes' is 'Mitotic cell'; an unknown name, folded.

    Two names mean the same class exactly when their canonical names are equal.
    """
    folded = fold(name)
    return _CANONICAL.get(folded, folded)


def unify_spelling(names: Iterable[str]) -> dict[str, str]:
    """Map each name to the most frequent spelling of it.

    Args:
        names: Each as often as it occurs; two that `fold` makes equal are the same name.
    """
    counts = Counter(names)
    chosen: dict[str, str] = {}
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        chosen.setdefault(fold(name), name)
    return {name: chosen[fold(name)] for name in counts}


def is_clutter(name: str) -> bool:
    """Tell whether a class is not what a project is about: debris, interphase nuclei, 'Other'."""
    return canonicalize(name) in _CLUTTER


def is_mitotic(name: str) -> bool:
    """Tell whether a class is a dividing cell, at any stage."""
    return canonicalize(name) in ("Mitotic cell", *STAGES)


def call_by_choice(label: str, chosen: Iterable[str]) -> str:
    """Call a box by what is chosen of it, where it can have one name only.

    Args:
        label: Of the box, and its name where nothing is chosen, or several classes are.
        chosen: The classes.
    """
    names = tuple(chosen)
    return names[0] if len(names) == 1 else label


def choose_headline(classes: Iterable[str]) -> tuple[str, ...]:
    """Choose the classes that a project is about, in their order: all but clutter."""
    return tuple(name for name in classes if not is_clutter(name))
