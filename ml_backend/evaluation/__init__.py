"""Predictions and truth → figures; pure functions on arrays."""
