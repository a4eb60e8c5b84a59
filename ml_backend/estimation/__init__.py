"""Counts of a whole scan from the tiles that were reviewed; pure functions on arrays."""
