"""Decisions about the regions of a pre-annotation → the annotation that Label Studio would write.

The items are those that its labeling screen submits, in its order and with its names in their
order, so that nobody can tell which of the two ways a task was reviewed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ml_backend.serving.catalogue.decisions import Decision

# The order in which the editor writes the fields of an item; others follow.
_FIELDS = (
    "original_width", "original_height", "image_rotation", "value", "id", "from_name", "to_name",
    "type", "origin", "score",
)  # fmt: skip
# Items that carry the label of a region; others say more about it, and stay as they are.
_NAMING = ("rectanglelabels", "labels")
_UNCHANGED, _CHANGED = "prediction", "prediction-changed"


def write_annotation(
    shown: Sequence[dict[str, Any]], decisions: Mapping[str, Decision]
) -> list[dict[str, Any]]:
    """Write the `result` of an annotation.

    Args:
        shown: The `result` of the pre-annotation.
        decisions: About each of its regions, by the region's id.

    Returns:
        The items of the regions that were confirmed or renamed.

    Raises:
        KeyError: A region is not decided.
    """
    changed = {
        str(item["id"])
        for item in shown
        if (decision := decisions[str(item["id"])]).kind == "rename"
        and item["type"] in _NAMING
        and item["value"][item["type"]] != [decision.label]
    }
    written = []
    for item in shown:
        decision, value = decisions[str(item["id"])], dict(item["value"])
        if decision.kind == "reject":
            continue
        if str(item["id"]) in changed and item["type"] in _NAMING:
            value[item["type"]] = [decision.label]
        origin = _CHANGED if str(item["id"]) in changed else _UNCHANGED
        fields = {**_write_as_browsers_do(item), "value": _write_as_browsers_do(value)}
        fields["origin"] = origin
        order = [name for name in _FIELDS if name in fields]
        written.append({name: fields[name] for name in dict.fromkeys((*order, *fields))})
    return written


def _write_as_browsers_do(value: Any) -> Any:
    """Write whole numbers without a fraction: a browser knows no other numbers, so 10.0 is 10."""
    if isinstance(value, dict):
        return {name: _write_as_browsers_do(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_write_as_browsers_do(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
