"""Two models in one file: weights.safetensors holds both, each tensor under its part's name.

A version's folder has the parts beside it again, each a version's folder of its own kind, so that
each is loaded as if it stood alone.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from ml_backend.learners.model_file import (
    DETECTOR,
    DETECTOR_CLASSIFIER,
    FILE_NAME,
    IR_FILES,
    REGION_CLASSIFIER,
    ModelCard,
    read_card,
)
from ml_backend.system.atomic_files import replace_file

# A part is a folder with the name of its kind.
PARTS = (DETECTOR, REGION_CLASSIFIER)
PART_FILES = tuple(f"{part}/{name}" for part in PARTS for name in (FILE_NAME, *IR_FILES))


def pack(folder: Path) -> Path:
    """Write a folder's two parts into one file there, never half-written; its path.

    Its card is the detector's. The options `choices` and `several` are the
    classifier's classes, and whether it may answer more than one.

    Args:
        folder: With the parts.
    """
    from safetensors.numpy import load_file, save_file

    cards = {part: read_card(folder / part / FILE_NAME) for part in PARTS}
    card = replace(
        cards[DETECTOR],
        kind=DETECTOR_CLASSIFIER,
        options={
            "choices": list(cards[REGION_CLASSIFIER].classes),
            "several": cards[REGION_CLASSIFIER].options["several"],
            "parts": {part: asdict(cards[part]) for part in PARTS},
        },
    )
    tensors = {
        f"{part}/{name}": tensor
        for part in PARTS
        for name, tensor in load_file(str(folder / part / FILE_NAME)).items()
    }
    path = folder / FILE_NAME
    with replace_file(path) as temporary:
        save_file(tensors, str(temporary), metadata=card.to_metadata())
    return path


def unpack(weights: Path, folder: Path) -> None:
    """Write the parts of a file into a folder, as `pack` found them.

    Raises:
        ValueError: The file does not hold both.
    """
    from safetensors.numpy import load_file, save_file

    options, tensors = read_card(weights).options, load_file(str(weights))
    for part in PARTS:
        own = {
            name.removeprefix(f"{part}/"): tensor
            for name, tensor in tensors.items()
            if name.startswith(f"{part}/")
        }
        try:
            fields = options["parts"][part]
            card = ModelCard(
                **{
                    **fields,
                    "classes": tuple(fields["classes"]),
                    "headline": tuple(fields["headline"]),
                }
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"{weights} does not hold a whole {part}: {error}") from error
        (folder / part).mkdir(parents=True, exist_ok=True)
        with replace_file(folder / part / FILE_NAME) as temporary:
            save_file(own, str(temporary), metadata=card.to_metadata())
