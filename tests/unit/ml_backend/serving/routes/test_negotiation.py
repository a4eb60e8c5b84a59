"""Who gets a page and who gets JSON."""

from __future__ import annotations

import pytest
from flask import Flask

from ml_backend.serving.routes.negotiation import prefers_html

CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
SAFARI = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (CHROMIUM, True),
        (SAFARI, True),
        ("text/html", True),
        ("*/*", False),  # Label Studio, curl
        (None, False),
        ("application/json", False),
        ("application/json, text/html;q=0.5", False),
        ("application/json;q=0.4, text/html;q=0.5", True),
        ("text/*, application/json", False),
    ],
)
def test_only_who_rather_takes_html_gets_it(accept: str | None, html: bool) -> None:
    headers = {} if accept is None else {"Accept": accept}
    with Flask("test").test_request_context(headers=headers):
        assert prefers_html() is html
