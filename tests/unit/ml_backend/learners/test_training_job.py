"""A job survives its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml_backend.dataset.example import Example
from ml_backend.imaging.boxes import Boxes
from ml_backend.learners.training_job import TrainingJob

BOXES = Boxes.from_rows([(1, 2, 3.5, 4, "a"), (0, 0, 9, 9, "b")])
EXAMPLES = [
    Example(Path("a.png"), "", BOXES, pixel_size=0.25),
    Example(Path("b.png"), "", Boxes(), deleted=np.array([[1, 1, 2, 2]], np.float32)),
    Example(Path("c.png"), "", None, choices=("x", "y")),
    Example(Path("d.png"), "", None, choices=("x",), choice_shares={"x": 0.75, "y": 0.25}),
]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"kind": "classifier", "base": None},
        {"epochs": 3, "imgsz": 128, "seed": 7, "share": 0.5, "earlier": Path("v1.safetensors")},
    ],
)
def test_a_job_reads_back(changes: dict[str, Any]) -> None:
    fields = {"base": Path("base.npz"), "out": Path("out"), **changes}
    job = TrainingJob(EXAMPLES, ("a", "b"), ("a",), **fields)
    written = job.to_json()
    read = TrainingJob.from_json(json.loads(json.dumps(written)))
    assert read.to_json() == written
    assert (read.base, read.out, read.kind) == (job.base, job.out, job.kind)
    assert (read.share, read.earlier) == (job.share, job.earlier)
    for example, expected in zip(read.examples, EXAMPLES, strict=True):
        assert (example.boxes is None) == (expected.boxes is None)
        assert (example.pixel_size, example.choices) == (expected.pixel_size, expected.choices)
        assert example.choice_shares == expected.choice_shares
        np.testing.assert_array_equal(example.deleted, expected.deleted)
    assert read.examples[0].boxes is not None
    assert read.examples[0].boxes.to_rows() == BOXES.to_rows()


@pytest.mark.parametrize("broken", [{}, {"examples": [1]}, {"examples": [], "classes": 3}])
def test_a_malformed_job_is_one_error(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="missing or malformed"):
        TrainingJob.from_json(broken)
