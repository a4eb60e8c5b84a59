"""Addresses of local files that would lead out of the media folder, and names in label files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from ml_backend.dataset.folder import read_folder
from ml_backend.imaging.decode import encode_png
from ml_backend.label_studio.image_hosts import ImageHosts
from ml_backend.label_studio.image_source import ImageSource
from tests.hostile.hostile import Hostile
from tests.hostile.kinds.answers import serve_answers

# What leads out of a folder, in every spelling that some program takes for one.
WAYS_OUT = (
    *("../secret.png", "..//secret.png", "./../secret.png", "1/../../secret.png", "/../secret.png"),
    *("1/../../media/../secret.png", "....//secret.png", "..\\secret.png", "..\\..\\secret.png"),
    *("%2e%2e/secret.png", "%2e%2e%2fsecret.png", "..%2fsecret.png", "..%5csecret.png"),
    *(
        "%252e%252e%252fsecret.png",
        "..%c0%afsecret.png",
        "..%00/secret.png",
        "../secret.png%00.png",
    ),
    *("../secret.png#a", "../secret.png?a", "..;/secret.png", "link/secret.png", "link"),
    *("1/link/../secret.png", "out.png", "/etc/passwd", "//etc/passwd", "/proc/self/environ"),
    *("/dev/zero", "/dev/stdin", "~/.ssh/id_rsa", "~root/x", "file:///etc/passwd", "$HOME/x"),
    *("C:\\secret.png", "\\\\server\\share\\x", "..", ".", "", " ", "../", "a" * 5000, "a/" * 2000),
    *("\0", "..\0", "pipe", "１/．．/secret.png", "\u2025/secret.png", "..\u2215secret.png"),
)


def make_media(folder: Path) -> Path:
    """A media folder with links that lead out of it, and a secret beside it."""
    import os

    media = folder / "media"
    (media / "1").mkdir(parents=True)
    (folder / "secret.png").write_bytes(b"SECRET")
    (media / "link").symlink_to(folder)
    (media / "out.png").symlink_to(folder / "secret.png")
    os.mkfifo(media / "pipe")
    return media


def list_paths() -> Iterator[Hostile]:
    """List paths that lead out, by where they are written."""
    ways: dict[str, Callable[[str], str]] = {
        "local file": lambda way: f"/data/local-files/?d={way}",
        "local file, quoted": lambda way: f"/data/local-files/?d={quote(way)}",
        "local file of the server": lambda way: f"{serve_answers()}/data/local-files/?d={way}",
        "second of two": lambda way: f"/data/local-files/?d=none.png&d={way}",
    }
    for where, write in ways.items():
        for way in WAYS_OUT:
            shown = way if len(way) < 60 else f"{way[:10]}... of {len(way)}"

            def build(folder: Path, way: str = way, write: Any = write) -> tuple[Path, str]:
                return make_media(folder), write(way)

            refusal = "HTTP 404|cannot fetch|no http|may not come|is not|Invalid|cannot be fetched"
            yield Hostile(f"{where} {shown!r}", build, fetch, refusal)
    for form in ("coco", "list"):
        for way in WAYS_OUT[:22]:

            def build_labels(folder: Path, way: str = way, form: str = form) -> Path:
                import json

                (folder / "secret.png").write_bytes(b"SECRET")
                (folder / "labels").mkdir()
                if form == "coco":
                    content = {
                        "images": [{"id": 1, "file_name": way, "width": 8, "height": 8}],
                        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2]}],
                        "categories": [{"id": 1, "name": "a"}],
                    }
                    (folder / "labels" / "a.json").write_text(json.dumps(content))
                else:
                    listed = json.dumps({"names": ["a"], "train": way})
                    (folder / "labels" / "data.yaml").write_text(listed)
                return folder / "labels"

            refusal = r"^\['good.png'\] .*(no image|neither a folder|not a YOLO data file)"
            yield Hostile(f"{form} of {way!r}", build_labels, label_within, refusal)


def fetch(given: tuple[Path, str]) -> str:
    """Fetch an image by the address of a local file."""
    media, address = given
    source = ImageSource(serve_answers(), "token", media=media, hosts=ImageHosts())
    ((_, content),) = source.fetch([address])
    return str(content)


def label_within(folder: Path) -> str:
    """Read a labelled folder in which a good image lies."""
    (folder / "good.png").write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8)))
    found = read_folder(folder)
    return f"{[example.image.name for example in found.examples]} {found.skipped}"
