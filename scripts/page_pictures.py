"""The pictures of the pages in the documentation: a project from its first correction on.

    uv run python scripts/page_pictures.py --dataset ../shared/data/plant_mitosis

Starts `cytoloop up` on the images of samples that the starter never saw and corrects them with the
dataset's boxes. Two versions are trained and judged; a slide put together of the images is sent as
a scan and partly accepted. Then every page is photographed in headless Chromium, those that show
a training while a third one goes on.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from playwright.sync_api import Page, sync_playwright
from screenshots import OUT, SAMPLES, Product, correct, running

from ml_backend.dataset.example import Example
from ml_backend.dataset.folder import read_folder
from ml_backend.imaging.decode import decode
from ml_backend.label_studio.webhooks import start_training
from ml_backend.registry.versions import Registry
from ml_backend.settings import Settings
from ml_backend.state.login_links import make_link_secret
from ml_backend.state.training_progress import list_trainings
from ml_backend.system.retry import wait_until

PATIENCE = 900.0  # seconds for a training and its trial
# Images that are corrected before the first training and before the second.
ROUNDS = (10, 5)
ACROSS, DOWN, FIELD = 4, 3, (1300, 1030)  # of the slide, and px of one of its images
ACCEPTED = 9  # tiles of the slide


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--dataset", type=Path, required=True, help="a labelled folder")
    options.add_argument("--out", type=Path, default=OUT, help="where the pictures go")
    chosen = options.parse_args()
    examples = [
        example
        for example in read_folder(chosen.dataset).examples
        if example.group in SAMPLES and example.boxes is not None
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = folder / "images"
        images.mkdir()
        for example in examples:  # in no folders: each is a sample, so that there are intervals
            shutil.copyfile(example.image, images / example.image.name)
        with running(folder / "data", images) as product:
            settings = Settings(data_dir=folder / "data")
            learn(product, settings, {example.image.name: example for example in examples})
            scan(settings, make_slide(examples, folder / "slide"))
            accept(product)
            run(settings, "second-look", "--project", "1", "--send", "20")
            photograph(product, settings, chosen.out)


def learn(product: Product, settings: Settings, examples: Mapping[str, Example]) -> None:
    """Correct tasks, and let a version be trained and judged after each round."""
    registry = Registry(settings.versions, settings.champions)
    tasks = iter(sorted(product.studio.list_tasks(1), key=lambda task: -is_held_out(task)))
    for number, size in enumerate(ROUNDS, 1):
        for task in islice(tasks, size):
            correct(product.studio, task, examples[task["data"]["source"]])
        start_training(product.studio.session, 1)
        wait(lambda: len(registry.list_versions("1")) == number)  # noqa: B023
        wait(lambda: bool(registry.list_versions("1")[-1].decision))


def is_held_out(task: Mapping[str, Any]) -> bool:
    return bool(task["data"]["split"] == "holdout")


def make_slide(examples: list[Example], folder: Path) -> Path:
    """Write one large image, the dataset's images beside and below each other."""
    width, height = FIELD
    fields = [decode(example.image)[:height, :width, ::-1] for example in examples]
    rows = [np.hstack(fields[row * ACROSS : (row + 1) * ACROSS]) for row in range(DOWN)]
    folder.mkdir()
    cv2.imwrite(str(folder / "slide-7.tif"), np.vstack(rows))
    return folder


def scan(settings: Settings, folder: Path) -> None:
    run(settings, "scan", str(folder), "--project", "1", "--send", "all")


def accept(product: Product) -> None:
    """Submit the first tiles of the scan as they were pre-annotated."""
    tiles = [task for task in product.studio.list_tasks(1) if "scan" in task["data"]]
    for task in tiles[:ACCEPTED]:
        (shown,) = task["predictions"]
        product.studio.submit_annotation(task["id"], shown["result"], parent_prediction=shown["id"])


def run(settings: Settings, *command: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "ml_backend", "--data-dir", str(settings.data_dir), *command],
        check=True,
    )


def wait(is_true: Callable[[], bool]) -> None:
    if not wait_until(is_true, every=0.5, timeout=PATIENCE):
        raise SystemExit("the worker took too long; see its log")


def photograph(product: Product, settings: Settings, out: Path) -> None:
    """Photograph every page; those that read in the background are opened twice."""
    newest = Registry(settings.versions, settings.champions).list_versions("1")[-1].name
    person = product.studio.get_person()
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    executable: Any = next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1366, "height": 768})
        page.goto(f"{product.backend}/login")
        save(page, out / "page-login.png")
        secret = make_link_secret(settings.login_links, person)
        page.goto(f"{product.backend}/login?link={secret}")
        home = f"{product.backend}/projects/1"
        start_training(product.studio.session, 1)
        wait(lambda: any(made.epoch > 3 for made in list_trainings(settings.progress)))
        page.goto(f"{home}/")
        page.get_by_text("As Label Studio was at").wait_for(timeout=60_000)
        save(page, out / "page-project.png", whole=True)
        page.emulate_media(color_scheme="dark")
        save(page, out / "page-project-dark.png")
        page.emulate_media(color_scheme="light")
        page.goto(f"{product.backend}/")
        save(page, out / "page-projects.png")
        page.goto(f"{home}/cells/?state=any&order=confident")
        save(page, out / "page-cells.png")
        page.goto(f"{home}/versions/")
        save(page, out / "page-versions.png")
        page.goto(f"{home}/versions/{newest}")
        save(page, out / "page-version.png")
        page.goto(f"{home}/compare/")
        page.locator(".pairs figure").nth(5).wait_for(timeout=120_000)
        page.wait_for_timeout(10_000)  # what differs most comes first once all are drawn
        page.reload()
        save(page, out / "page-compare.png")
        page.goto(f"{product.backend}/overviews/1/")
        page.get_by_role("link", name="slide-7.tif").click()
        page.set_viewport_size({"width": 1366, "height": 900})
        save(page, out / "page-overview.png")
        page.set_viewport_size({"width": 1366, "height": 768})
        page.goto(f"{product.backend}/scans/")
        save(page, out / "page-scans.png")
        browser.close()


def save(page: Page, path: Path, whole: bool = False) -> None:
    page.wait_for_timeout(2500)
    page.screenshot(path=path, full_page=whole)


if __name__ == "__main__":
    main()
