"""Images for a first try: real ones from their public repository, else generated ones.

The real ones are of samples that no starter was trained on. Each is checked against its
SHA-256 before it appears in the folder, so a half-downloaded image is never seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import pooch
import requests

from ml_backend.demo.synthetic_images import KARYOTYPES, generate_field
from ml_backend.imaging.boxes import Boxes
from ml_backend.system.atomic_files import replace_file

COMMIT = "ddea57b0a145762626e4100f7f7f9630e314e081"
ADDRESS = f"https://raw.githubusercontent.com/tomoyukif/CutSort/{COMMIT}/2D_Test/"
CREDIT = (
    "plant chromosome preparations from https://github.com/tomoyukif/CutSort, GPL-3.0, "
    "Nagaki et al. 2021, doi:10.1007/s10577-021-09676-z"
)
# Seconds to connect, and between two pieces of a file; short, so that without a network
# generated images come soon.
PATIENCE = (4, 20)
GENERATED = 24
EMPTY_EVERY = 5  # every fifth generated field holds no dividing cell


@dataclass(frozen=True)
class DemoImages:
    """The images of the demo.

    Attributes:
        folder: Where they lie, in sub-folders by sample.
        paths: The images.
        real: Whether they are photographs; else they are generated.
        origin: Where they come from, their licence, and what went wrong, for people to read.
    """

    folder: Path
    paths: list[Path]
    real: bool
    origin: str


def prepare_demo_images(
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
    *,
    address: str = ADDRESS,
) -> DemoImages:
    """Bring the images of the demo into a folder; those that it holds are not fetched again.

    Args:
        folder: Is made where it is not there.
        progress: Called with (images done, images in all).
        address: Where the files lie, ending in "/"; a mirror of the public repository is
            possible.

    Raises:
        OSError: The folder cannot be written.
    """
    paths, refused, failure = fetch_images(folder / "real", list_published(), address, progress)
    if not paths:
        why = f"could not be reached ({failure})" if failure else "are not the published files"
        return DemoImages(
            folder / "generated",
            _generate_images(folder / "generated", progress),
            False,
            f"{GENERATED} generated images, because the public ones {why}. "
            "Start again with a network connection to add the real ones.",
        )
    origin = f"{len(paths)} real images: {CREDIT}."
    if refused:
        origin += f" Left out, because they are not the published files: {', '.join(refused)}."
    if failure:
        origin += f" The connection was lost ({failure}) before the others were there."
    return DemoImages(folder / "real", paths, True, origin)


def list_published() -> dict[str, str]:
    """List the public images: sample/file to SHA-256."""
    text = (files("ml_backend.demo") / "demo_images.txt").read_text(encoding="utf-8")
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return {line[0]: line[1] for line in lines}


def fetch_images(
    folder: Path,
    registry: Mapping[str, str],
    address: str,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Path], list[str], str]:
    """Fetch images and check them.

    A file that the server does not have, or that has another hash, is refused, and the others
    are fetched. When the server does not answer, no more are tried.

    Args:
        folder: Where they are written, in sub-folders by sample.
        registry: sample/file to SHA-256. At the address all files lie in one folder.
        address: Where the files lie, ending in "/".
        progress: Called with (images done, images in all).

    Returns:
        The paths of the right files, the names of those refused, and the name of the error
        that ended the fetching; "" where none did.
    """
    store = pooch.create(
        path=folder,
        base_url=address,
        registry=dict(registry),
        urls={name: address + name.rpartition("/")[2] for name in registry},
    )
    pooch.get_logger().setLevel("WARNING")
    download = pooch.HTTPDownloader(timeout=PATIENCE)
    paths: list[Path] = []
    refused: list[str] = []
    for name in sorted(registry):
        try:
            paths.append(Path(store.fetch(name, downloader=download)))
        except (ValueError, requests.HTTPError):  # ValueError: the hash differs
            refused.append(name)
        except requests.RequestException as error:
            return paths, refused, type(error).__name__
        if progress:
            progress(len(paths) + len(refused), len(registry))
    return paths, refused, ""


def name_generated(number: int) -> str:
    """Name the file of a generated image, sample/file."""
    species = list(KARYOTYPES)[number % len(KARYOTYPES)]
    return f"{species}/{species}-{number + 1:02}.png"


def generate_demo_field(number: int) -> tuple[np.ndarray, Boxes]:
    """Generate an image of the demo, and the boxes of what is in it.

    Args:
        number: Which, 0 to GENERATED - 1.

    Returns:
        The image, uint8 (H, W, 3) RGB, and the boxes.
    """
    dividing = 0 if number % EMPTY_EVERY == EMPTY_EVERY - 1 else 1 + number % 3 // 2
    species = list(KARYOTYPES)[number % len(KARYOTYPES)]
    return generate_field(number, species=species, dividing=dividing)


def _generate_images(folder: Path, progress: Callable[[int, int], None] | None) -> list[Path]:
    """Write GENERATED fields, the same on every machine, as PNGs in a sub-folder a species."""
    paths = []
    for number in range(GENERATED):
        path = folder / name_generated(number)
        if not path.exists():
            image, _ = generate_demo_field(number)
            png = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))[1]
            with replace_file(path) as temporary:
                temporary.write_bytes(png.tobytes())
        paths.append(path)
        if progress:
            progress(len(paths), GENERATED)
    return paths
