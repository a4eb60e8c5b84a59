"""The colour of each class: the labeling config's, else one that the colour-blind can tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from xml.etree import ElementTree

from ml_backend.label_studio.class_names import canonicalize, is_clutter

# Okabe and Ito's, without black; also those of the ready-made configs.
PALETTE = (
    "#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#0072B2", "#F0E442", "#999999",
)  # fmt: skip


def colours(classes: Sequence[str], label_config: str = "") -> dict[str, str]:
    """A colour, as #RRGGBB, for each class: the config's, the ready-made configs', or a free one.

    No two of the first eight classes have the same, unless the config gives it to them.
    """
    found = {
        name: own for name in classes if (own := _of_config(label_config).get(canonicalize(name)))
    }
    for name in classes:
        ready = _ready().get(canonicalize(name))
        if name not in found and ready and ready not in found.values():
            found[name] = ready
    for number, name in enumerate(name for name in classes if name not in found):
        free = [one for one in PALETTE if one not in found.values()] or PALETTE
        found[name] = free[0] if len(free) < len(PALETTE) else free[number % len(free)]
    return {name: found[name] for name in classes}


def in_usual_order(classes: Sequence[str]) -> tuple[str, ...]:
    """Classes in the order of the ready-made configs, what they are about first; then by name."""
    usual = list(_ready())

    def place(name: str) -> tuple[bool, int, str]:
        known = canonicalize(name) in usual
        return is_clutter(name), usual.index(canonicalize(name)) if known else len(usual), name

    return tuple(sorted(classes, key=place))


@cache
def _ready() -> dict[str, str]:
    found: dict[str, str] = {}
    for kind in ("mitosis", "phases", "tetrads"):
        text = (files("ml_backend.label_studio.configs") / f"{kind}.xml").read_text(
            encoding="utf-8"
        )
        found |= _of_config(text)
    return found


@cache
def _of_config(label_config: str) -> dict[str, str]:
    if not label_config:
        return {}
    found = {}
    for label in ElementTree.fromstring(label_config).iter("Label"):
        colour = label.get("background", "")
        if re.fullmatch(r"#[0-9A-Fa-f]{6}", colour):
            for name in (label.get("alias"), label.get("value")):
                if name:
                    found[canonicalize(name)] = colour.upper()
    return found
