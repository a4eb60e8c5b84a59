"""Stacks of single cells: projections of them, and the stage that these tell."""
