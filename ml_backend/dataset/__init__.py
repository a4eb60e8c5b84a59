"""Labelled images: from a folder on disk or from a project's annotations."""
