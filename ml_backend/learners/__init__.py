"""Kinds of learners: what is trained on corrections and draws pre-annotations."""
