"""Annotations and detections in the files of other programs."""
