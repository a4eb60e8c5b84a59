"""The starter that the benchmarks measure, made ready to serve."""

from __future__ import annotations

from pathlib import Path

from ml_backend.registry.resolve import resolve_model
from ml_backend.registry.versions import Registry


def ready(scratch: Path) -> Path:
    """The folder of the mitosis starter's version, in a registry of its own below `scratch`."""
    registry = Registry(scratch / "versions", scratch / "champions")
    return registry.get_folder(resolve_model("starter:mitosis", registry).name)
