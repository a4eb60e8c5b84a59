"""A folder of images as tasks of a project: checked, made showable, never twice."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_backend.dataset.split import Assignment, assign, assign_all, group_of
from ml_backend.imaging.decode import UnreadableImage, as_png, decode
from ml_backend.imaging.pixel_size import read_file_pixel_size
from ml_backend.label_studio.client import Studio
from ml_backend.system.atomic_files import replacing
from ml_backend.system.batching import chunks
from ml_backend.system.plurals import format_count
from tasks.sources.discover import list_image_files

# How files begin that every browser shows; anything else becomes a PNG.
_SHOWABLE = (
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
)

# Tasks created with one request: often enough for the bar to move.
_CHUNK = 100

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Source:
    """One image of a folder: its path, its name inside the folder, and its sample or ''."""

    path: Path
    name: str
    sample: str


@dataclass(frozen=True)
class Intake:
    """new, known: tasks made, and images that were tasks already. copies: images whose file is the
    same as that of one before. bad: (source, reason)."""

    new: int
    known: int
    copies: int
    bad: tuple[tuple[str, str], ...]

    def text(self) -> str:
        """How many there were, in a sentence."""
        text = f"{format_count(self.new, 'image')} imported"
        if self.known:
            text += f", {self.known} there already"
        if self.copies:
            text += f", {self.copies} left out because the same file came before"
        return f"{text}."


def sources(folder: Path) -> tuple[list[Source], list[tuple[str, str]]]:
    """The images below `folder`, in natural order, and (name, reason) of what was passed over.

    See `sources.image_files`. Where images lie in two or more sub-folders, a sub-folder is a
    sample.
    """
    paths, skipped = list_image_files(folder)
    found = [(path, path.relative_to(folder)) for path in paths]
    samples = {inside.parts[0] for _, inside in found if len(inside.parts) > 1}
    grouped = len(samples) > 1
    images = [
        Source(
            path,
            inside.as_posix(),
            inside.parts[0] if grouped and len(inside.parts) > 1 else "",
        )
        for path, inside in found
    ]
    return images, [(one["source"], one["reason"]) for one in skipped]


def take_in(
    images: Sequence[Source],
    studio: Studio,
    project: int,
    *,
    image_key: str,
    media: Path,
    holdout_share: float,
    blind_share: float,
    progress: Progress = lambda done, total: None,
) -> Intake:
    """Make a task of every image that the project does not hold yet.

    media: the folder whose files the server shows; the images are copied to
    media/<project>, because a file that changes after it was marked spoils the marks.
    An image is known by the hash of its file. Images that cannot be read are listed.
    """
    tasks = list(studio.tasks(project, full=False))
    before = {task["data"].get("sha256") for task in tasks}
    known = set(before)
    sides = _sides(images, tasks, image_key, holdout_share)
    new = old = copies = done = 0
    bad: list[tuple[str, str]] = []
    folder = media / str(project)
    with ThreadPoolExecutor(4, thread_name_prefix="intake") as pool:
        for chunk in chunks(images, _CHUNK):
            fresh: list[dict[str, Any]] = []
            for source, outcome in zip(
                chunk, pool.map(lambda one: _showable(one.path, folder, known), chunk), strict=True
            ):
                if isinstance(outcome, UnreadableImage):
                    bad.append((source.name, outcome.reason))
                elif outcome.digest in before:
                    old += 1
                elif outcome.digest in known:
                    copies += 1
                else:
                    known.add(outcome.digest)
                    fresh.append(_task(source, outcome, project, image_key, sides, blind_share))
            studio.import_tasks(project, fresh)
            new += len(fresh)
            done += len(chunk)
            progress(done, len(images))
    return Intake(new, old, copies, tuple(bad))


@dataclass(frozen=True)
class _Copy:
    digest: str
    name: str


def _showable(path: Path, folder: Path, known: Iterable[Any]) -> _Copy | UnreadableImage:
    """A copy of the image that a browser shows, in `folder`; none for a known image."""
    try:
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if digest in known:
            return _Copy(digest, "")
        pixels = decode(content)
        suffix = next((end for start, end in _SHOWABLE if content.startswith(start)), None)
        if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
            suffix = ".webp"
        target = folder / f"{digest[:20]}{suffix or '.png'}"
        if not target.exists():
            with replacing(target) as temporary:
                if suffix:
                    shutil.copyfile(path, temporary)
                else:
                    temporary.write_bytes(as_png(pixels))
        return _Copy(digest, target.name)
    except UnreadableImage as error:
        return error
    except OSError as error:
        return UnreadableImage(f"cannot be read: {error.strerror or error}")


def _task(
    source: Source,
    copy: _Copy,
    project: int,
    image_key: str,
    sides: dict[str, Assignment],
    blind_share: float,
) -> dict[str, Any]:
    data = _named(source)
    side = sides[group_of(data, "")]
    if size := read_file_pixel_size(source.path):
        data["pixel_size"] = size
    data |= {
        image_key: f"/data/local-files/?d={project}/{copy.name}",
        "sha256": copy.digest,
        **side.task_data(copy.digest, blind_share),
    }
    return {"data": data}


def _named(source: Source) -> dict[str, Any]:
    return {"source": source.name} | ({"sample": source.sample} if source.sample else {})


def _sides(
    images: Iterable[Source], tasks: Sequence[dict[str, Any]], image_key: str, share: float
) -> dict[str, Assignment]:
    """The side of every group: where the project has it already, else by its hash."""
    sides = dict(_decided(tasks, image_key))
    groups = {group_of(_named(source), "") for source in images} - sides.keys()
    return sides | (
        {group: assign(group, share) for group in groups} if sides else assign_all(groups, share)
    )


def _decided(tasks: Iterable[dict[str, Any]], image_key: str) -> Iterator[tuple[str, Assignment]]:
    for task in tasks:
        data = task["data"]
        if data.get("split") in ("train", "holdout"):
            yield (
                group_of(data, str(data.get(image_key, ""))),
                Assignment(
                    data["split"],
                    float(data.get("sampling_p") or 1.0),
                    str(data.get("sampling_reason") or ""),
                ),
            )
