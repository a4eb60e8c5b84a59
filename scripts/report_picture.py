"""The picture of docs/reports.md: a report's page on real images.

    uv run python scripts/report_picture.py --dataset ../shared/data/plant_mitosis

Detects in the images of samples that the starter never saw, and photographs the upper part
of the report in headless Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from ml_backend.dataset.folder import read_folder

OUT = Path(__file__).parent.parent / "docs" / "images" / "report.png"
SAMPLES = ("Asa", "Os", "Ta")
WINDOW: Any = {"width": 1180, "height": 1420}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--dataset", type=Path, required=True, help="a folder with samples")
    dataset = options.parse_args().dataset
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for example in read_folder(dataset).examples:
            if example.group in SAMPLES:
                image = folder / "images" / example.group / example.image.name
                image.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(example.image, image)
        found, page = folder / "found.coco.json", folder / "report"
        cytoloop("detect", folder / "images", "--out", found)
        cytoloop("report", "--detections", found, "--images", folder / "images", "--out", page)
        photograph(page / "report.html")


def cytoloop(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "ml_backend", *map(str, arguments)]
    subprocess.run(command, check=True)


def photograph(page: Path) -> None:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    executable: Any = next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        shown = chromium.new_page(viewport=WINDOW)
        shown.goto(page.as_uri())
        content = shown.screenshot()
        chromium.close()
    with Image.open(BytesIO(content)) as picture:
        picture.convert("RGB").quantize(256, Image.Quantize.FASTOCTREE).save(OUT, optimize=True)


if __name__ == "__main__":
    main()
