"""Versions, champions and the shipped starters; what the user calls a model."""
