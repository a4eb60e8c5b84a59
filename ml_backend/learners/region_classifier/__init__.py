"""Telling apart what boxes hold: the classifier, on square crops."""
