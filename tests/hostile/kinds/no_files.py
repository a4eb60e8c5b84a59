"""What lies in a folder, is called an image or a file of ours, and must not be opened."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.dataset.folder import read_folder
from ml_backend.imaging.decode import decode, encode_png
from tasks.exchange.annotation_files import find_annotation_files
from tasks.exchange.detection_files import read_detections
from tasks.sources.discover import list_image_files
from tests.hostile.hostile import Hostile
from tests.hostile.kinds.tiffs import read_planes


def list_no_files() -> Iterator[Hostile]:
    """List pipes, sockets, devices, links and names that are no text."""

    def bind(path: Path) -> None:
        here = os.getcwd()
        os.chdir(path.parent)  # the address of a socket is short
        try:
            socket.socket(socket.AF_UNIX).bind(path.name)
        finally:
            os.chdir(here)

    makers: dict[str, tuple[Callable[[Path], Any], str]] = {
        "pipe": (os.mkfifo, "a pipe is no file"),
        "socket": (bind, "a socket is no file"),
        "link to itself": (lambda path: path.symlink_to(path), "cannot be read"),
        "link to a device": (lambda path: path.symlink_to("/dev/zero"), "a device is no file"),
        "link to nothing": (lambda path: path.symlink_to("gone.png"), "no such file"),
    }
    for (kind, (make, refusal)), suffix in product(makers.items(), (".png", ".tif", ".bmp")):

        def build(folder: Path, make: Any = make, suffix: str = suffix) -> Path:
            make(folder / f"bad{suffix}")
            return folder / f"bad{suffix}"

        yield Hostile(f"{kind} {suffix}, decoded", build, decode, refusal)
        yield Hostile(f"{kind} {suffix}, opened", build, read_planes, refusal)
        yield Hostile(f"{kind} {suffix}, listed", build, list_beside, f"good.png.*{refusal}")
        yield Hostile(f"{kind} {suffix}, labelled", build, label_beside, f"good.png.*{refusal}")
    for suffix in (".json", ".csv"):

        def build_pipe(folder: Path, suffix: str = suffix) -> Path:
            os.mkfifo(folder / f"a{suffix}")
            return folder / f"a{suffix}"

        yield Hostile(f"pipe {suffix}", build_pipe, read_detections, "a pipe is no file")
    yield Hostile(
        "pipe of annotations",
        lambda folder: os.mkfifo(folder / "a.json") or folder,
        find_annotation_files,
        "no annotations there",
    )

    def build_bytes(folder: Path) -> Path:
        name = os.fsdecode(b"caf\xe9.png")
        (folder / name).write_bytes(encode_png(np.zeros((4, 4, 3), np.uint8)))
        return folder / name

    yield Hostile("name of bytes, listed", build_bytes, list_beside, "good.png.*no text")
    yield Hostile("name of bytes, labelled", build_bytes, label_beside, "good.png.*no text")


def list_beside(bad: Path) -> str:
    """List a folder in which a good image lies beside."""
    (bad.parent / "good.png").write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8)))
    paths, skipped = list_image_files(bad.parent)
    return f"{[path.name for path in paths]} {skipped}"


def label_beside(bad: Path) -> str:
    """Read a labelled folder in which a good image lies beside."""
    (bad.parent / "good.png").write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8)))
    found = read_folder(bad.parent)
    return f"{[example.image.name for example in found.examples]} {found.skipped}"
