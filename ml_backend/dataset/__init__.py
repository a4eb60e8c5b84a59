"""Labelled images: from a folder on disk or from a project's annotations."""

from ml_backend.dataset.example import Example

__all__ = ["Example"]
