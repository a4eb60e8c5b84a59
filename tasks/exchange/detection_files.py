"""Files of detections, in whatever format: written as detections come, and read back."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NoReturn

from ml_backend.dataset.annotation_formats.formats import FILES, choose_format
from ml_backend.dataset.annotation_formats.records import (
    READ_ERRORS,
    Add,
    Detected,
    FileFormat,
    to_detected,
)
from ml_backend.system.atomic_files import replace_file
from ml_backend.system.plain_files import find_obstacle


def open_writer(out: Path) -> AbstractContextManager[Add]:
    """Prepare to write a file in the format of its ending.

    Args:
        out: The file, which appears when it is complete.

    Returns:
        What begins the file when it is entered, and yields what adds an image.

    Raises:
        ValueError: The ending is that of no format; at once, before anything is written.
    """
    return _open(out, choose_format(out))


@contextmanager
def _open(out: Path, form: FileFormat) -> Iterator[Add]:
    with (
        replace_file(out) as temporary,
        temporary.open("w", encoding="utf-8", newline=form.newline) as file,
        form.write(file) as add,
    ):
        yield add


def read_detections(path: Path) -> list[Detected]:
    """The detections in a file that `open_writer` wrote, by source in their order.

    Sources without a detection are known only from COCO and Create ML; width and height are 0
    where the format does not have them.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not such a file, or a box in it cannot be read.
    """
    try:
        if path.exists() and (obstacle := find_obstacle(path)):
            raise ValueError(obstacle)
        with path.open(encoding="utf-8-sig", newline="") as file:
            text = file.read()
        name = path.name.lower()
        parse = next((form.parse for form in FILES if name.endswith(form.ending)), json.loads)
        content = parse(text)
        for form in FILES:
            if form.parse is parse and form.recognizes(content):
                images = form.read(content, _refuse)
                return [to_detected(image) for image in images if image.name or image.entries]
        raise ValueError("it holds no list of detections")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such file") from None
    except (OSError, csv.Error, *READ_ERRORS) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path} is not a file that cytoloop detect wrote: {what}") from error


def _refuse(fault: str) -> NoReturn:
    raise ValueError(fault)
