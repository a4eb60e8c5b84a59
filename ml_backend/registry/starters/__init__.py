"""The shipped starters: versions that pre-annotate before anything was trained here."""

from __future__ import annotations

import json
from pathlib import Path

from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.learners.kinds import match_labels
from ml_backend.learners.model_file import read_card
from ml_backend.registry.versions import UnknownVersion, Version
from ml_backend.system.plain_files import hash_file

STARTERS = Path(__file__).parent
PREFIX = "starter:"


def list_starters() -> list[str]:
    """List the starters as the user names them: `starter:NAME`."""
    return [f"{PREFIX}{path.stem}" for path in sorted(STARTERS.glob("*.safetensors"))]


def find_starter_weights(starter: str) -> Path:
    """Find the model file of `starter:NAME`.

    Raises:
        UnknownVersion: None of that name is shipped.
    """
    path = STARTERS / f"{starter.removeprefix(PREFIX)}.safetensors"
    if f"{PREFIX}{path.stem}" != starter or not path.exists():
        known = ", ".join(list_starters())
        raise UnknownVersion(f"there is no {starter}; there are: {known}")
    return path


def name_starter(starter: str) -> str:
    """Give the version string of `starter:NAME`, which has its file's hash in it."""
    digest = hash_file(find_starter_weights(starter))
    return f"starter-{starter.removeprefix(PREFIX)}-{digest[:8]}"


def read_starter(starter: str) -> Version:
    """Read `starter:NAME` as a version, with what it was trained on."""
    weights = find_starter_weights(starter)
    seen = json.loads(weights.with_suffix(".seen.json").read_text(encoding="utf-8"))
    return Version(
        name=name_starter(starter),
        project="starter",
        created=0.0,
        base="",
        seen_hashes=tuple(seen["hashes"]),
        seen_groups=tuple(seen["groups"]),
        kind=read_card(weights).kind,
    )


def choose_starter(labels: LabelingConfig, kind: str | None = None) -> str | None:
    """Choose the first starter whose classes match a project's labels; None where none does.

    Args:
        labels: The project's labeling config.
        kind: Only a starter of this learner, where it is given.
    """
    for starter in list_starters():
        card = read_card(find_starter_weights(starter))
        if kind in (None, card.kind) and match_labels(card, labels):
            return starter
    return None
