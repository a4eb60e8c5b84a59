"""The pictures of the pages in the documentation, of a service that runs.

    uv run cytoloop up --demo
    uv run python scripts/page_pictures.py --data ~/.local/share/cytoloop

Logs in by a link that works once, and photographs every page in headless Chromium, 1366 × 768.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from ml_backend.label_studio.client import Studio
from ml_backend.settings import Settings
from ml_backend.state.login_links import make_link_secret
from ml_backend.state.projects import Projects

OUT = Path(__file__).parent.parent / "docs" / "images"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, required=True, help="the data folder")
    options.add_argument("--url", default="http://127.0.0.1:9090", help="of the ML backend")
    options.add_argument("--out", type=Path, default=OUT, help="where the pictures go")
    options.add_argument("--dark", action="store_true", help="in dark colours")
    chosen = options.parse_args()
    settings = Settings(data_dir=chosen.data)
    project = Projects(settings.projects_database).list_projects()[0]
    person = Studio(project.url, project.token).get_person()
    secret = make_link_secret(settings.login_links, person)
    pages = {
        "projects": "/",
        "project": f"/projects/{project.id}/",
        "cells": f"/projects/{project.id}/cells/?state=any&order=confident",
        "versions": f"/projects/{project.id}/versions/",
        "compare": f"/projects/{project.id}/compare/",
        "overview": f"/overviews/{project.id}/0/",
    }
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    executable: Any = next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": 1366, "height": 768},
            color_scheme="dark" if chosen.dark else "light",
        )
        page.goto(f"{chosen.url}/login?link={secret}")
        for path in pages.values():  # what is read or drawn in the background begins
            page.goto(chosen.url + path)
        page.wait_for_timeout(15_000)
        for place in range(10):  # one with cells to see
            page.goto(f"{chosen.url}/overviews/{project.id}/{place}/")
            if page.locator(".scan .box").count():
                pages["overview"] = f"/overviews/{project.id}/{place}/"
                break
        for name, path in pages.items():
            page.goto(chosen.url + path)
            page.wait_for_timeout(2500)
            page.screenshot(path=chosen.out / f"page-{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
