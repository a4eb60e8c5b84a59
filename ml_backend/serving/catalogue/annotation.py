"""Decisions about the regions of a pre-annotation → the annotation that Label Studio would write.

The items are those that its labeling screen submits, in its order and with its names in their
order, so that nobody can tell which of the two ways a task was reviewed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.serving.catalogue.decisions import Decision

# The order in which the editor writes the fields of an item; others follow.
_FIELDS = (
    "original_width", "original_height", "image_rotation", "value", "id", "from_name", "to_name",
    "type", "origin", "score",
)  # fmt: skip
# Items that carry the label of a region, and those that carry what is chosen of it.
_NAMING = ("rectanglelabels", "labels")
_CHOOSING = "choices"
_UNCHANGED, _CHANGED = "prediction", "prediction-changed"


def write_annotation(
    shown: Sequence[dict[str, Any]], decisions: Mapping[str, Decision], labels: LabelingConfig
) -> list[dict[str, Any]]:
    """Write the `result` of an annotation.

    Args:
        shown: The `result` of the pre-annotation.
        decisions: About each of its regions, by the region's id.
        labels: Those of the project.

    Returns:
        The items of the regions that were confirmed or renamed.

    Raises:
        KeyError: A region is not decided.
    """
    regions: dict[str, list[dict[str, Any]]] = {}
    for item in shown:
        regions.setdefault(str(item["id"]), []).append(item)
    written = []
    for region, items in regions.items():
        decision = decisions[region]
        if decision.kind == "reject":
            continue
        renamed = _rename(items, decision.label, labels) if decision.kind == "rename" else items
        origin = _UNCHANGED if renamed == items else _CHANGED
        written += [_write_item(item, origin) for item in renamed]
    return written


def _rename(
    items: Sequence[dict[str, Any]], name: str, labels: LabelingConfig
) -> list[dict[str, Any]]:
    """Give the items of a region that is called `name` now: a label of it, or a choice."""
    chosen_by = next(
        (c for c in labels.region_choices if name in (label.value for label in c.labels)), None
    )
    if name in labels.values or chosen_by is None:
        # What was chosen of it said that it is something else.
        return [_relabel(item, name) for item in items if item["type"] != _CHOOSING]
    label = next(item["value"][item["type"]][0] for item in items if item["type"] in _NAMING)
    if chosen_by.only_for and label not in chosen_by.only_for:
        label = labels.get_label_of(chosen_by)
    renamed = [_relabel(item, label) for item in items]
    for item in renamed:
        if item["from_name"] == chosen_by.name:
            item["value"] = {**item["value"], "choices": [name]}
            return renamed
    shape = {key: side for key, side in items[0]["value"].items() if key != items[0]["type"]}
    chosen = {
        **{key: value for key, value in items[0].items() if key != "score"},
        "type": _CHOOSING,
        "from_name": chosen_by.name,
        "value": {**shape, "choices": [name]},
    }
    return [*renamed, chosen]


def _relabel(item: dict[str, Any], label: str) -> dict[str, Any]:
    kind = item["type"]
    return {**item, "value": {**item["value"], kind: [label]}} if kind in _NAMING else {**item}


def _write_item(item: dict[str, Any], origin: str) -> dict[str, Any]:
    fields = {**_write_as_browsers_do(item), "origin": origin}
    order = [name for name in _FIELDS if name in fields]
    return {name: fields[name] for name in dict.fromkeys((*order, *fields))}


def _write_as_browsers_do(value: Any) -> Any:
    """Write whole numbers without a fraction: a browser knows no other numbers, so 10.0 is 10."""
    if isinstance(value, dict):
        return {name: _write_as_browsers_do(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_write_as_browsers_do(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
