"""Annotation formats of other programs, one file a format: each is read and written there.

`formats` is the table of them; `records` holds what they share.
"""
