"""A folder of images as tasks of a project: each checked, made showable, and imported once."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.dataset.split import LEAST_CHANCE, Assignment, assign, assign_all, read_group
from ml_backend.imaging.decode import UnreadableImage, decode, encode_png, measure_decoded
from ml_backend.imaging.decode_budget import BUDGET
from ml_backend.imaging.pixel_size import read_file_pixel_size
from ml_backend.label_studio.client import Studio
from ml_backend.system.atomic_files import replace_file
from ml_backend.system.batching import make_batches
from ml_backend.system.numbers import parse_number
from ml_backend.system.plurals import format_count
from tasks.sources.discover import list_image_files

# How files begin that every browser can show; all others become PNGs.
_SHOWABLE = (
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
)

# An image whose brightest thousandth is darker is dim, 0..255.
_DIM = 128

# Tasks created with one request: often enough for the bar to move.
_CHUNK = 100

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class FolderImage:
    """An image of a folder.

    Attributes:
        path: The file.
        name: Its path inside the folder, with / between the parts.
        sample: The sub-folder that it lies in, where sub-folders are samples, else "".
    """

    path: Path
    name: str
    sample: str


@dataclass(frozen=True)
class ImportResult:
    """What became of the images of a folder.

    Attributes:
        new: How many became tasks.
        known: How many were tasks already.
        copies: How many have the same content as an image before them.
        unreadable: (name, reason) of those that cannot be read.
    """

    new: int = 0
    known: int = 0
    copies: int = 0
    unreadable: tuple[tuple[str, str], ...] = ()

    def describe(self) -> str:
        """Say in a sentence how many there were."""
        text = f"{format_count(self.new, 'image')} imported"
        if self.known:
            text += f", {self.known} there already"
        if self.copies:
            text += f", {self.copies} left out because the same file came before"
        return f"{text}."


def find_images(folder: Path) -> tuple[list[FolderImage], list[tuple[str, str]]]:
    """Find the images below a folder.

    Where images lie in two or more sub-folders, each sub-folder is a sample. With a single
    one it is none: all images would be one group, and none could be held out.

    Args:
        folder: Searched with its sub-folders, as `list_image_files` does it.

    Returns:
        The images in natural order, and (name, reason) of what was left out.
    """
    paths, skipped = list_image_files(folder)
    found = [(path, path.relative_to(folder)) for path in paths]
    samples = {inside.parts[0] for _, inside in found if len(inside.parts) > 1}
    grouped = len(samples) > 1
    images = [
        FolderImage(
            path,
            inside.as_posix(),
            inside.parts[0] if grouped and len(inside.parts) > 1 else "",
        )
        for path, inside in found
    ]
    return images, [(entry["source"], entry["reason"]) for entry in skipped]


def import_images(
    images: Sequence[FolderImage],
    studio: Studio,
    project: int,
    *,
    image_key: str,
    media: Path,
    holdout_share: float,
    blind_share: float,
    brighten: bool = False,
    progress: Progress = lambda done, total: None,
) -> ImportResult:
    """Make a task of every image that the project does not hold yet.

    An image is recognized by the SHA-256 of its file.

    Args:
        images: In the order in which the tasks are to be made.
        studio: The Label Studio of the project.
        project: The project's id.
        image_key: The name of the image in a task's data.
        media: The folder whose files Label Studio shows. The images are copied to
            media/<project>, because a file that changes after it was annotated no longer
            fits its annotations.
        holdout_share: The share of the groups that is held out, 0..1.
        blind_share: The share of the held-out tasks that come without boxes, 0..1.
        brighten: Show dim images brightened, see `brighten_dim`. Of the demo alone: a model that
            learned from brightened images would not know the files that people keep.
        progress: Called with (images done, images in all).

    Raises:
        StudioError: Label Studio refuses the tasks or cannot be reached.
    """
    tasks = list(studio.list_tasks(project, full=False))
    before = {task["data"].get("sha256") for task in tasks}
    known = set(before)
    sides = assign_sides(images, tasks, image_key, holdout_share)
    new = old = copies = done = 0
    unreadable: list[tuple[str, str]] = []
    folder = media / str(project)
    with ThreadPoolExecutor(4, thread_name_prefix="import") as pool:
        for chunk in make_batches(images, _CHUNK):
            fresh: list[dict[str, Any]] = []
            copied = pool.map(lambda image: _copy_image(image.path, folder, known, brighten), chunk)
            for image, outcome in zip(chunk, copied, strict=True):
                if isinstance(outcome, UnreadableImage):
                    unreadable.append((image.name, outcome.reason))
                elif outcome.digest in before:
                    old += 1
                elif outcome.digest in known:
                    copies += 1
                else:
                    known.add(outcome.digest)
                    data = make_task_data(
                        image,
                        digest=outcome.digest,
                        address=f"/data/local-files/?d={project}/{outcome.name}",
                        image_key=image_key,
                        side=sides[read_group(_name_in_task(image), "")],
                        blind_share=blind_share,
                    )
                    fresh.append({"data": data})
            studio.import_tasks(project, fresh)
            new += len(fresh)
            done += len(chunk)
            progress(done, len(images))
    return ImportResult(new, old, copies, tuple(unreadable))


@dataclass(frozen=True)
class _Copy:
    """The SHA-256 of an image's file, and the name of its copy; "" where none was made."""

    digest: str
    name: str


def brighten_dim(pixels: np.ndarray) -> np.ndarray | None:
    """Stretch an image that is too dim to be judged on a screen; None where it is not.

    With it the starter for mitosis found 18 in place of 17 of 21 cells in the demo's images, of
    which two are dim, and nothing wrong in addition.

    Args:
        pixels: (H, W, 3) uint8 RGB.
    """
    brightest = float(np.percentile(pixels.max(axis=2), 99.9))
    if not 0 < brightest < _DIM:
        return None
    return np.clip(pixels * (255 / brightest), 0, 255).astype(np.uint8)


def _copy_image(
    path: Path, folder: Path, known: Iterable[Any], brighten: bool
) -> _Copy | UnreadableImage:
    """Copy an image to `folder`, as a file that a browser can show; not a known image."""
    try:
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if digest in known:
            return _Copy(digest, "")
        size = measure_decoded(content)
        BUDGET.take(size, None)
        try:
            pixels = decode(content)
        finally:
            BUDGET.give_back(size)
        bright = brighten_dim(pixels) if brighten else None
        suffix = next((end for start, end in _SHOWABLE if content.startswith(start)), None)
        if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
            suffix = ".webp"
        if bright is not None:
            pixels, suffix = bright, None
        target = folder / f"{digest[:20]}{suffix or '.png'}"
        if not target.exists():
            with replace_file(target) as temporary:
                if suffix:
                    shutil.copyfile(path, temporary)
                else:
                    temporary.write_bytes(encode_png(pixels))
        return _Copy(digest, target.name)
    except UnreadableImage as error:
        return error
    except OSError as error:
        return UnreadableImage(f"cannot be read: {error.strerror or error}")


def make_task_data(
    image: FolderImage,
    *,
    digest: str,
    address: str,
    image_key: str,
    side: Assignment,
    blind_share: float,
) -> dict[str, Any]:
    """Make the data of an image's task.

    Args:
        image: The image; its file is asked for its pixel size.
        digest: The SHA-256 of its file.
        address: Where Label Studio shows it.
        image_key: The name of the image in the data.
        side: The side of its group.
        blind_share: The share of the held-out tasks that come without boxes, 0..1.
    """
    data = _name_in_task(image)
    if size := read_file_pixel_size(image.path):
        data["pixel_size"] = size
    return data | {image_key: address, "sha256": digest, **side.make_task_data(digest, blind_share)}


def _name_in_task(image: FolderImage) -> dict[str, Any]:
    return {"source": image.name} | ({"sample": image.sample} if image.sample else {})


def assign_sides(
    images: Iterable[FolderImage], tasks: Sequence[dict[str, Any]], image_key: str, share: float
) -> dict[str, Assignment]:
    """Assign every group of images to a side: trained on, or held out.

    Args:
        images: The images to import.
        tasks: The tasks that the project has; a group of theirs stays on its side.
        image_key: The name of the image in a task's data.
        share: The share of the groups that is held out, 0..1.

    Returns:
        The side of each group, of the images and of the tasks.
    """
    sides = dict(_read_sides(tasks, image_key))
    groups = {read_group(_name_in_task(image), "") for image in images} - sides.keys()
    return sides | (
        {group: assign(group, share) for group in groups} if sides else assign_all(groups, share)
    )


def _read_sides(
    tasks: Iterable[dict[str, Any]], image_key: str
) -> Iterator[tuple[str, Assignment]]:
    for task in tasks:
        data = task["data"]
        if data.get("split") in ("train", "holdout"):
            yield (
                read_group(data, str(data.get(image_key, ""))),
                Assignment(
                    data["split"],
                    parse_number(data.get("sampling_p"), LEAST_CHANCE, 1) or 1.0,
                    str(data.get("sampling_reason") or ""),
                ),
            )
