"""The colour of each class: that of the labeling config, else of a palette for the colour-blind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from ml_backend.label_studio.class_names import canonicalize, is_clutter
from ml_backend.system.markup import parse_xml

# Of Okabe and Ito (2008), without black; the ready-made configs have the same.
PALETTE = (
    "#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#0072B2", "#F0E442", "#999999",
)  # fmt: skip


def choose_colours(classes: Sequence[str], label_config: str = "") -> dict[str, str]:
    """Choose a colour for each class: that of the config, of the ready-made configs, or a free one.

    No two of the first eight classes have the same, unless the config gives it to them.

    Args:
        classes: Their names.
        label_config: The labeling config as XML; "" where there is none.

    Returns:
        A colour of each class, #RRGGBB.
    """
    own = _read_colours(label_config)
    found = {name: own[canonicalize(name)] for name in classes if canonicalize(name) in own}
    for name in classes:
        ready = _read_ready_made().get(canonicalize(name))
        if name not in found and ready and ready not in found.values():
            found[name] = ready
    for number, name in enumerate(name for name in classes if name not in found):
        free = [colour for colour in PALETTE if colour not in found.values()] or PALETTE
        found[name] = free[0] if len(free) < len(PALETTE) else free[number % len(free)]
    return {name: found[name] for name in classes}


def sort_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Sort classes as the ready-made configs do, clutter last, those unknown to them by name."""
    usual = list(_read_ready_made())

    def rank(name: str) -> tuple[bool, int, str]:
        known = canonicalize(name) in usual
        return is_clutter(name), usual.index(canonicalize(name)) if known else len(usual), name

    return tuple(sorted(classes, key=rank))


@cache
def _read_ready_made() -> dict[str, str]:
    found: dict[str, str] = {}
    for kind in ("mitosis", "phases", "tetrads", "spreads"):
        text = (files("ml_backend.label_studio.configs") / f"{kind}.xml").read_text(
            encoding="utf-8"
        )
        found |= _read_colours(text)
    return found


@cache
def _read_colours(label_config: str) -> dict[str, str]:
    if not label_config:
        return {}
    found = {}
    for label in parse_xml(label_config).iter("Label"):
        colour = label.get("background", "")
        if re.fullmatch(r"#[0-9A-Fa-f]{6}", colour):
            for name in (label.get("alias"), label.get("value")):
                if name:
                    found[canonicalize(name)] = colour.upper()
    return found
