"""Content negotiation: a page or JSON."""

from __future__ import annotations

from flask import request


def prefers_html() -> bool:
    """Tell whether the present request prefers HTML over JSON, as a browser's does.

    Label Studio, curl and Python's clients send `*/*` or nothing: they get JSON.
    """
    accepts = request.accept_mimetypes
    return accepts.quality("text/html") > accepts.quality("application/json")
