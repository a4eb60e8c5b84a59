"""The pictures of the README and the guides: real screens on real images.

    uv run python scripts/screenshots.py --dataset ../shared/data/plant_mitosis

Starts `cytoloop up` on the images of samples that the starter never saw, and photographs
the screens in headless Chromium: what the starter marked, and the first marked image of the queue
before and after it was corrected with the dataset's boxes. A second start, with labels that no
shipped detector knows, shows which ten images are to be marked first.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Page, sync_playwright

from ml_backend.dataset.example import Example
from ml_backend.dataset.folder import read_folder
from ml_backend.demo.synthetic_images import generate_field
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.class_names import choose_headline
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.system.atomic_files import read_json

OUT = Path(__file__).parent.parent / "docs" / "images"
SAMPLES = ("Os", "Asa", "Ta")
WINDOW = {"width": 1440, "height": 860}
# Where the image and the scores are in that window: left, top, right, bottom.
CANVAS = (254, 102, 1066, 746)
SCORES = (610, 140, 1250, 648)
# What the labeling screen shows.
SHOWN = "Asa/Asa28.png"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--dataset", type=Path, required=True, help="a labelled folder")
    options.add_argument("--shown", default=SHOWN, help="sample/file of the labeling screen")
    chosen = options.parse_args()
    examples = {
        f"{example.group}/{example.image.name}": example
        for example in read_folder(chosen.dataset).examples
        if example.group in SAMPLES and example.boxes is not None
    }
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        for name, example in examples.items():
            (images / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(example.image, images / name)
        with running(Path(folder) / "data", images) as product, browser(product) as page:
            photograph(product, page, examples, chosen.shown)
    photograph_marking_first()


def photograph_marking_first() -> None:
    """Photograph the tab of the images to be marked first, where no detector knows the labels."""
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        for number in range(24):
            path = images / f"slide-{number % 3 + 1}" / f"{number + 1:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = generate_field(np.random.default_rng(number), dividing=2)[0]
            Image.fromarray(pixels).save(path)
        with running(Path(folder) / "data", images, "phases") as product, browser(product) as page:
            data_manager(product, page, "?tab=2").save(OUT / "mark-first.png")


@dataclass(frozen=True)
class Product:
    url: str
    backend: str
    account: dict[str, str]
    studio: Studio


def photograph(product: Product, page: Page, examples: dict[str, Example], shown: str) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    tasks = {task["data"]["source"]: task for task in product.studio.list_tasks(1)}
    # Something is to be corrected: neither a blind task nor one where nothing was found.
    marked_ones = [name for name, task in tasks.items() if task["predictions"][0]["result"]]
    first = min(marked_ones, key=lambda name: tasks[name]["predictions"][0]["score"])
    data_manager(product, page).save(OUT / "data-manager.png")
    labeling(product, page, tasks[shown]["id"]).save(OUT / "labeling.png")
    marked = labeling(product, page, tasks[first]["id"])
    correct(product.studio, tasks[first], examples[first])
    corrected = labeling(product, page, tasks[first]["id"])
    following = data_manager(product, page)
    steps = [
        ("marked", marked.crop(CANVAS)),
        ("corrected", corrected.crop(CANVAS)),
        ("on to the next of the queue", following.crop(SCORES)),
    ]
    loop(steps).save(OUT / "loop.png")


def correct(studio: Studio, task: dict[str, Any], example: Example) -> None:
    """Submit the dataset's boxes of the headline classes, as an annotator would."""
    labels = LabelingConfig.parse(studio.get_project(1).label_config)
    boxes = example.boxes or Boxes()
    names = tuple(map(str, boxes.label))
    kept = boxes.select(np.isin(boxes.label, choose_headline(names)))
    with Image.open(example.image) as image:
        width, height = image.size
    regions = labels.write_regions(
        kept, width=width, height=height, matching=labels.match_classes(names), version="by hand"
    )
    for region in regions:
        region.pop("score")
    parent = task["predictions"][0]["id"]
    studio.submit_annotation(task["id"], regions, parent_prediction=parent)


def data_manager(product: Product, page: Page, tab: str = "") -> Image.Image:
    page.goto(f"{product.url}/projects/1/data{tab}", wait_until="commit")
    page.get_by_text("Label All Tasks").first.wait_for()
    page.wait_for_timeout(5000)  # the small images come one by one
    return picture(page)


def labeling(product: Product, page: Page, task: int) -> Image.Image:
    page.goto(f"{product.url}/projects/1/data?task={task}", wait_until="commit")
    page.wait_for_function("() => window.Htx?.annotationStore?.selected?.regions?.length > 0")
    page.wait_for_timeout(4000)
    return picture(page)


def picture(page: Page) -> Image.Image:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.png"
        page.screenshot(path=path)
        return Image.open(path).convert("RGB")


def loop(steps: list[tuple[str, Image.Image]]) -> Image.Image:
    """The screens side by side, each under its word."""
    width, margin, head = 480, 12, 40
    small = [image.resize((width, image.height * width // image.width)) for _, image in steps]
    size = (len(steps) * (width + margin) + margin, small[0].height + head + margin)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for i, (word, _) in enumerate(steps):
        left = margin + i * (width + margin)
        draw.text((left, 8), f"{i + 1}  {word}", fill="black", font=ImageFont.load_default(22))
        sheet.paste(small[i], (left, head))
        draw.rectangle((left, head, left + width - 1, head + small[i].height - 1), outline="gray")
    return sheet


@contextmanager
def running(data: Path, images: Path, labels: str = "mitosis") -> Iterator[Product]:
    """`cytoloop up` on the images, until the end of the block."""
    port, backend_port = free_port(), free_port()
    command = [
        sys.executable, "-m", "ml_backend", "--data-dir", str(data), "up", "--no-browser",
        "--images", str(images), "--labels", labels,
        "--port", str(port), "--backend-port", str(backend_port),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        for line in process.stdout:
            print(line, end="")
            if line.startswith("╰"):
                break
        else:
            raise SystemExit("cytoloop up ended")
        account = read_json(data / "label-studio" / "account.json")
        url = f"http://127.0.0.1:{port}"
        backend = f"http://127.0.0.1:{backend_port}"
        yield Product(url, backend, account, Studio(url, account["token"]))
    finally:
        process.terminate()
        process.wait(60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def browser(product: Product) -> Iterator[Page]:
    """A browser that is logged in."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    executable: Any = next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = chromium.new_page(viewport=WINDOW, device_scale_factor=1)  # type: ignore[arg-type]
        page.set_default_timeout(60_000)
        page.goto(f"{product.url}/user/login/", wait_until="commit")
        page.fill("#email", product.account["username"])
        page.fill("#password", product.account["password"])
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "login" not in url, wait_until="commit")
        yield page
        chromium.close()


if __name__ == "__main__":
    main()
