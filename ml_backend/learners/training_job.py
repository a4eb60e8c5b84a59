"""What to train, in a form that can be written down and read by another process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.imaging.boxes import Boxes
from ml_backend.learners.model_file import DETECTOR


@dataclass(frozen=True)
class TrainingJob:
    """What to train.

    Attributes:
        examples: Labelled images. Empty boxes show that nothing is there; an example without
            labels of the learner's kind is left out.
        classes: The model's outputs, in this order; objects of other classes are ignored.
        headline: The classes that the project is about.
        base: The .safetensors or .npz file to start from; None for the learner's own start.
        out: The folder that gets weights.safetensors and the serving files.
        kind: The learner.
        architecture: The network's name; the learner's own where None.
        epochs: Passes over the images; the recipe's own where None.
        imgsz: Input pixels of the longest side of the median image; the recipe's where None.
        seed: Of every random choice.
        share: Of the images of a whole training that these are, 0..1, exclusive of 0. A model that
            stands for another in judging learns at the pace of that one's training.
        earlier: The .safetensors file of what learned some of these images already, from this base;
            None where nothing did.
    """

    examples: Sequence[Example]
    classes: tuple[str, ...]
    headline: tuple[str, ...]
    base: Path | None
    out: Path
    kind: str = DETECTOR
    architecture: str | None = None
    epochs: int | None = None
    imgsz: int | None = None
    seed: int = 0
    share: float = 1.0
    earlier: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Give the job as plain values; `from_json` reads them back."""
        return {
            "examples": [_to_json(example) for example in self.examples],
            "classes": list(self.classes),
            "headline": list(self.headline),
            "kind": self.kind,
            "architecture": self.architecture,
            "base": str(self.base) if self.base else None,
            "epochs": self.epochs,
            "imgsz": self.imgsz,
            "seed": self.seed,
            "share": self.share,
            "earlier": str(self.earlier) if self.earlier else None,
            "out": str(self.out),
        }

    @classmethod
    def from_json(cls, job: dict[str, Any]) -> TrainingJob:
        """Read what `to_json` gave.

        Raises:
            ValueError: A field is missing or has another form.
        """
        try:
            return cls(
                examples=[_from_json(e) for e in job["examples"]],
                classes=tuple(job["classes"]),
                headline=tuple(job["headline"]),
                base=Path(job["base"]) if job["base"] else None,
                out=Path(job["out"]),
                kind=job.get("kind", DETECTOR),
                architecture=job.get("architecture"),
                epochs=job.get("epochs"),
                imgsz=job.get("imgsz"),
                seed=job.get("seed", 0),
                share=job.get("share", 1.0),
                earlier=Path(job["earlier"]) if job.get("earlier") else None,
            )
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise ValueError(f"a field of the job is missing or malformed: {error!r}") from error


def _to_json(example: Example) -> dict[str, Any]:
    return {
        "image": str(example.image),
        "group": example.group,
        "boxes": None if example.boxes is None else [list(r[:5]) for r in example.boxes.to_rows()],
        "ignored": example.ignored.tolist(),
        "deleted": example.deleted.tolist(),
        "pixel_size": example.pixel_size,
        "choices": example.choices,
        "region_choices": example.region_choices,
        "choice_shares": dict(example.choice_shares),
    }


def _from_json(example: dict[str, Any]) -> Example:
    boxes, choices = example["boxes"], example.get("choices")
    return Example(
        image=Path(example["image"]),
        group=example.get("group", ""),
        boxes=None if boxes is None else Boxes.from_rows(tuple(row) for row in boxes),
        ignored=np.array(example.get("ignored", []), np.float32).reshape(-1, 4),
        deleted=np.array(example.get("deleted", []), np.float32).reshape(-1, 4),
        pixel_size=example.get("pixel_size"),
        choices=None if choices is None else tuple(choices),
        region_choices=tuple(tuple(names) for names in example.get("region_choices", ())),
        choice_shares=example.get("choice_shares", {}),
    )
