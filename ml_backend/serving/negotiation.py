"""A page or JSON: what the caller wants to have."""

from __future__ import annotations

from flask import request


def prefers_html() -> bool:
    """Does the present request rather take HTML than JSON, as a browser's do?

    Label Studio, curl and Python's clients send `*/*` or nothing: they get JSON.
    """
    accepts = request.accept_mimetypes
    return accepts.quality("text/html") > accepts.quality("application/json")
