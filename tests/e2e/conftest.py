"""A browser that is logged in to the real Label Studio."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RunningStudio


def find_chromium(play: Any) -> str | None:
    """The browser to drive: the system's, else the one that playwright installed."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if found := shutil.which(name):
            return found
    own = play.chromium.executable_path
    return own if Path(own).exists() else None


@pytest.fixture(scope="module")
def page(label_studio: RunningStudio) -> Iterator[Any]:
    """A browser that is logged in."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as play:
        executable = find_chromium(play)
        if executable is None:
            pytest.skip("no Chromium here; install it, or run: playwright install chromium")
        browser = play.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1500, "height": 950})
        page.set_default_timeout(60_000)
        page.goto(f"{label_studio.url}/user/login/", wait_until="commit")
        page.fill("#email", label_studio.account.username)
        page.fill("#password", label_studio.account.password)
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "login" not in url, wait_until="commit")
        yield page
        browser.close()
