"""Images of tasks are fetched once, kept, and read as they are."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np

from ml_backend.dataset.consensus import Submission
from ml_backend.dataset.snapshot import FetchedImage
from ml_backend.imaging.decode import UnreadableImage
from ml_backend.label_studio.image_source import ImageSource
from ml_backend.retraining.image_cache import fetch_images


def make_submission(task: int, address: str | None) -> Submission:
    data = {} if address is None else {"image": address}
    return Submission(task, data, annotation=task, updated="")


def write_image(path: Path, width: int, height: int) -> bytes:
    content = cv2.imencode(".png", np.zeros((height, width), np.uint8))[1].tobytes()
    path.write_bytes(content)
    return content


def test_each_image_is_there_with_its_size_and_hash_in_order(tmp_path: Path) -> None:
    media, kept = tmp_path / "media", tmp_path / "kept"
    media.mkdir()
    contents = {n: write_image(media / f"{n}.png", 20 + n, 10 + n) for n in (1, 2)}
    (media / "3.png").write_bytes(b"no image")
    source = ImageSource("http://127.0.0.1:1", "none", media=media)
    chosen = [make_submission(n, f"/data/local-files/?d={n}.png") for n in (2, 3, 1)]
    chosen.append(make_submission(4, None))
    found = list(fetch_images(chosen, "image", source, kept))
    assert isinstance(found[1], UnreadableImage) and isinstance(found[3], UnreadableImage)
    assert "no image in its field 'image'" in str(found[3])
    for task, image in ((2, found[0]), (1, found[2])):
        assert isinstance(image, FetchedImage)
        assert image.size == (20 + task, 10 + task)
        assert image.sha256 == hashlib.sha256(contents[task]).hexdigest()
        assert (kept / image.path).read_bytes() == contents[task]

    # Asked again, nothing is fetched: the media folder is gone.
    for path in media.iterdir():
        path.unlink()
    again = list(fetch_images(chosen, "image", source, kept))
    assert [again[0], again[2]] == [found[0], found[2]]
