"""The images of annotated tasks, fetched once and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_backend.dataset.consensus import Submission
from ml_backend.dataset.snapshot import FetchedImage
from ml_backend.imaging.decode import UnreadableImage, decode
from ml_backend.label_studio.image_source import ImageSource, ImageUnavailable
from ml_backend.label_studio.session import StudioUnreachable
from ml_backend.system.atomic_files import replace_file


@dataclass(frozen=True)
class TaskData:
    """A task's data.

    Attributes:
        task: Its id.
        data: By field.
    """

    task: int
    data: Mapping[str, Any]

    @classmethod
    def of(cls, task: Mapping[str, Any]) -> TaskData:
        """Take it from a task as Label Studio's API gives it."""
        return cls(task["id"], task["data"])


def fetch_images(
    chosen: Sequence[Submission | TaskData], image_key: str, source: ImageSource, folder: Path
) -> Iterator[FetchedImage | Exception]:
    """Fetch the images of tasks; those that are kept already are not fetched again.

    Args:
        chosen: The tasks.
        image_key: The field of a task's data that holds the address of its image.
        source: Where images are fetched.
        folder: Keeps the files, by task and address.

    Yields:
        For each task, in order, its image, or why there is none.

    Raises:
        StudioUnreachable: An image cannot be had now, but may be later.
        DiskFull: There is no room for an image.
    """
    addresses = [str(submission.data.get(image_key) or "") for submission in chosen]
    paths = [
        folder / f"{submission.task}-{_hash_address(address)}"
        for submission, address in zip(chosen, addresses, strict=True)
    ]
    missing = [i for i, path in enumerate(paths) if addresses[i] and not path.exists()]
    failed: dict[int, Exception] = {
        i: UnreadableImage(f"the task has no image in its field {image_key!r}")
        for i, address in enumerate(addresses)
        if not address
    }
    for position, got in source.fetch([addresses[i] for i in missing]):
        index = missing[position]
        if isinstance(got, ImageUnavailable):
            # A snapshot without these images would be taken for the whole.
            raise StudioUnreachable(f"an image of task {chosen[index].task}: {got}")
        if isinstance(got, Exception):
            failed[index] = got
            continue
        with replace_file(paths[index]) as temporary:
            temporary.write_bytes(got)
    for index, path in enumerate(paths):
        if index in failed:
            yield failed[index]
            continue
        try:
            data = path.read_bytes()
            height, width = decode(data).shape[:2]
            yield FetchedImage(path.name, hashlib.sha256(data).hexdigest(), (width, height))
        except (UnreadableImage, OSError) as error:
            yield error


def _hash_address(address: str) -> str:
    return hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()[:12]
