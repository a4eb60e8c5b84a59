"""Detector and classifier together: one finds the objects, the other says what was chosen of each.

A project in which a box carries a choice, such as the stage of a mitotic cell, is learned by this
kind. Its two models are those of `detector` and `region_classifier`, whole and unchanged.
"""
