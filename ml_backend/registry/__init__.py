"""Versions and champions in a data folder, the shipped starters, and how users name models."""
