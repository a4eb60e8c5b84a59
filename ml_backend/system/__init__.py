"""Processes, files, secrets and batches: nothing here knows what an image is."""
