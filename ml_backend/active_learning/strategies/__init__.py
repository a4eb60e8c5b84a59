"""The strategies that order a review queue: one file each, and one table of their names."""
