"""Images for a first look: real ones from their public repository, else generated ones.

Real ones are of samples that the starter detector never saw. Each is checked against its
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

from ml_backend.demo.synthetic_images import KARYOTYPES, field
from ml_backend.system.atomic_files import replacing

COMMIT = "ddea57b0a145762626e4100f7f7f9630e314e081"
ADDRESS = f"https://raw.githubusercontent.com/tomoyukif/CutSort/{COMMIT}/2D_Test/"
CREDIT = (
    "plant chromosome preparations from https://github.com/tomoyukif/CutSort, GPL-3.0, "
    "Nagaki et al. 2021, doi:10.1007/s10577-021-09676-z"
)
# Seconds to connect, and between two pieces of a file. A machine without network answers
# within the first; nobody waits for minutes to be told so.
PATIENCE = (4, 20)
GENERATED = 24
EMPTY_EVERY = 5  # one generated field in so many holds no dividing cell


@dataclass(frozen=True)
class DemoImages:
    """folder: where the images lie, in sub-folders by sample. paths: the images.

    real: photographed, not generated.
    origin: where they come from, their licence, and what went wrong, for a person to read.
    """

    folder: Path
    paths: list[Path]
    real: bool
    origin: str


def demo_images(
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
    *,
    address: str = ADDRESS,
) -> DemoImages:
    """The demo's images in `folder`; what is already there is not fetched again.

    progress: called with (images done, images in all).
    address: where the files lie, ending in "/"; a mirror of the public repository serves too.
    Raises OSError when the folder cannot be written.
    """
    paths, refused, failure = fetch(folder / "real", published(), address, progress)
    if not paths:
        why = f"could not be reached ({failure})" if failure else "are not the published files"
        return DemoImages(
            folder / "generated",
            _generated(folder / "generated", progress),
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


def published() -> dict[str, str]:
    """The public images: sample/file to SHA-256."""
    text = (files("ml_backend.demo") / "demo_images.txt").read_text(encoding="utf-8")
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return {line[0]: line[1] for line in lines}


def fetch(
    folder: Path,
    registry: Mapping[str, str],
    address: str,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Path], list[str], str]:
    """Fetch the files of the registry: (paths that are right, names refused, what broke off).

    registry: sample/file to SHA-256. In the repository all files lie in one folder; here each
        sample has its own.
    A file that the server lacks or that has another hash is refused and the rest is fetched;
    where the server does not answer, nothing more is tried.
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


def _generated(folder: Path, progress: Callable[[int, int], None] | None) -> list[Path]:
    """GENERATED fields, the same on every machine, as PNG in one sub-folder a species."""
    species = list(KARYOTYPES)
    paths = []
    for seed in range(GENERATED):
        kind = species[seed % len(species)]
        path = folder / kind / f"{kind}-{seed + 1:02}.png"
        if not path.exists():
            dividing = 0 if seed % EMPTY_EVERY == EMPTY_EVERY - 1 else 1 + seed % 3 // 2
            image, _ = field(seed, species=kind, dividing=dividing)
            png = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))[1]
            with replacing(path) as temporary:
                temporary.write_bytes(png.tobytes())
        paths.append(path)
        if progress:
            progress(len(paths), GENERATED)
    return paths
