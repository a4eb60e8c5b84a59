"""Whoever logs in goes on to a page of this server, whatever the request names."""

from __future__ import annotations

import pytest

from ml_backend.serving.access.page_address import choose_next


@pytest.mark.parametrize("wanted", ["/", "/projects/1/", "/projects/1/cells?class=A&page=2"])
def test_a_path_is_followed(wanted: str) -> None:
    assert choose_next(wanted) == wanted


@pytest.mark.parametrize(
    "wanted",
    [
        "", "https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example",
        "javascript:alert(1)", "/\t/evil.example", " //evil.example", "//[", "///evil.example",
    ],
)  # fmt: skip
def test_no_other_site_is(wanted: str) -> None:
    assert choose_next(wanted) == "/"
