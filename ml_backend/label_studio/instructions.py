"""What Label Studio shows before labelling: what to do, in a few lines."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ml_backend.label_studio.labeling_config import LabelingConfig

_SIDES = (
    "<b>split</b> (a column of the table): <i>train</i> images teach the detector, <i>holdout</i> "
    "images are its exam and never teach it. Correct some of both.",
    "<b>blind</b>: a few held-out images come without {marks} on purpose, for a fair exam. "
    "{Draw} all of them there.",
)
_BOXES = (
    "Boxes are drawn already where something was found. Drag one that lies badly; click one around "
    "nothing and press <b>Backspace</b>; draw what is missing: press {keys}, then drag.",
    "Nothing there? Delete all boxes and press <b>Submit</b>: that teaches too. Too dim? Sun and "
    "half-moon beside the image change brightness and contrast.",
)
_OF_EACH = " Then say of each what it is: click the box, and choose {choices}."
_CHOICES = (
    "What was recognised is chosen already. Choose the right class ({keys}) and press "
    "<b>Submit</b>.",
    "Too dim? Sun and half-moon beside the image change brightness and contrast.",
)
# Label Studio takes the numbers of lists, and all styles, away.
_APART = "<br><br>"
_UNDO = (
    "<b>Undo</b>: Ctrl+Z while you draw. After Submit, open the image again from the table, change "
    "it and press <b>Update</b>. Nobody changes your annotations but you."
)


def write_instructions(labels: LabelingConfig) -> str:
    """Write the instructions of a project, five paragraphs of HTML.

    Args:
        labels: Its labeling config; boxes go before choices.
    """
    boxed = bool(labels.controls)
    controls = labels.controls or labels.choices
    names = [label.value for control in controls for label in control.labels]
    keys = _list_names(names)
    sides = (
        line.format(marks="boxes" if boxed else "a choice", Draw="Draw" if boxed else "Choose for")
        for line in _SIDES
    )
    first, *start = (line.format(keys=keys) for line in (_BOXES if boxed else _CHOICES))
    if boxed and labels.region_choices:
        first += _OF_EACH.format(choices=_list_names(labels.region_choice_values))
    lines = (first, *start, *sides, _UNDO)
    return _APART.join(f"{number}. {line}" for number, line in enumerate(lines, 1))


def _list_names(names: Sequence[str]) -> str:
    listed = ", ".join(f"<b>{escape(name)}</b>" for name in names[:4])
    return listed + (" …" if len(names) > 4 else "")
