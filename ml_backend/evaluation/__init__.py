"""Figures from predictions and truth: pure functions on arrays."""
