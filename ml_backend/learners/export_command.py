"""The command line of an export, which a server runs as a child because it imports torch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch

from ml_backend.learners.base import ExportFailed


def run_export(module: str, export: Callable[[Path, Path], None]) -> None:
    """Export the weights that the command line names; errors are one line.

    Args:
        module: Full name of the module that is run.
        export: Makes what serves, of a file of weights and into a folder.
    """
    if len(sys.argv) != 3:
        sys.exit(f"usage: python -m {module} WEIGHTS.safetensors FOLDER")
    weights, folder = map(Path, sys.argv[1:])
    torch.set_num_threads(1)  # tracing is no work for many
    try:
        export(weights, folder)
    except (OSError, ValueError, KeyError, ExportFailed) as error:
        sys.exit(str(error))
