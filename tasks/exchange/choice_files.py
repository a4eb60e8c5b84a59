"""Files of choices: what each image is called and how probable every class is, as CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_backend.dataset.annotation_formats.detection_table import CSV_TABLE, JSON_TABLE
from ml_backend.dataset.annotation_formats.formats import choose_format
from ml_backend.dataset.annotation_formats.json_array import write_array
from ml_backend.system.atomic_files import replace_file
from ml_backend.system.csv_cells import read_cell, write_cell
from ml_backend.system.numbers import parse_number, parse_whole_number

COLUMNS = ("image", "plane", "class", "confidence")
BETWEEN = "; "  # classes in one cell, where several may be chosen


@dataclass(frozen=True)
class ClassifiedImage:
    """What one image is called.

    Attributes:
        source: Its name.
        plane: Of the file.
        chosen: Its classes, the most probable first; () where none is probable enough.
        probabilities: Of each class, 0..1.
    """

    source: str
    plane: int
    chosen: tuple[str, ...]
    probabilities: Mapping[str, float]

    @property
    def confidence(self) -> float | None:
        """The probability of the least probable class that was chosen."""
        return min((self.probabilities[name] for name in self.chosen), default=None)


def check_format(out: Path) -> None:
    """Check that choices can be written into a file.

    Raises:
        ValueError: By its ending it is in a format of boxes, or in none.
    """
    if choose_format(out) not in (CSV_TABLE, JSON_TABLE):
        raise ValueError(f"{out}: a classifier draws no boxes; give a .json or a .csv file")


@contextmanager
def write_choices(out: Path, classes: Sequence[str]) -> Iterator[Callable[[ClassifiedImage], None]]:
    """Write a file that appears when it is complete; yields what adds an image.

    Args:
        out: Its ending says whether it is CSV or JSON.
        classes: All that can be chosen; each has a column of its own in CSV.

    Raises:
        ValueError: See `check_format`.
    """
    check_format(out)
    with (
        replace_file(out) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        if choose_format(out) is JSON_TABLE:
            with write_array(file) as add:
                yield lambda image: add(_to_record(image))
        else:
            rows = csv.writer(file)
            rows.writerow([*COLUMNS, *map(_name_column, classes)])
            yield lambda image: rows.writerow(map(write_cell, _to_row(image, classes)))


def _name_column(name: str) -> str:
    return f"p({name})"


def _to_record(image: ClassifiedImage) -> dict[str, Any]:
    return {
        "image": image.source,
        "plane": image.plane,
        "classes": list(image.chosen),
        "confidence": image.confidence,
        "probabilities": dict(image.probabilities),
    }


def _to_row(image: ClassifiedImage, classes: Sequence[str]) -> list[Any]:
    chosen = BETWEEN.join(image.chosen)
    probabilities = [image.probabilities.get(name) for name in classes]
    return [image.source, image.plane, chosen, image.confidence, *probabilities]


def is_choice_file(path: Path) -> bool:
    """Tell by its start whether a file holds choices, not boxes."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            start = file.read(4096)
    except (OSError, ValueError):
        return False  # whoever reads it says what is wrong
    if path.suffix.lower() == ".csv":
        return set(COLUMNS) <= set(next(csv.reader(io.StringIO(start)), []))
    return '"probabilities"' in start


def read_choices(path: Path) -> list[ClassifiedImage]:
    """Read what `write_choices` wrote.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not such a file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".csv":
            return [_read_row(row) for row in csv.DictReader(io.StringIO(text, newline=""))]
        return [_read_record(record) for record in json.loads(text)]
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such file") from None
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError, csv.Error) as error:
        raise ValueError(f"{path} is not a file that cytoloop detect wrote: {error}") from error


def _read_row(row: Mapping[str, str | None]) -> ClassifiedImage:
    probabilities = {
        column[2:-1]: value
        for column, value in row.items()
        if column and column.startswith("p(") and column.endswith(")")
    }
    cell = read_cell(row["class"] or "")
    chosen = [cell] if cell in probabilities else cell.split(BETWEEN) if cell else []
    return _read(read_cell(row["image"] or ""), row["plane"], chosen, probabilities)


def _read_record(record: Mapping[str, Any]) -> ClassifiedImage:
    return _read(
        str(record["image"]), record["plane"], record["classes"], dict(record["probabilities"])
    )


def _read(
    source: str, plane: Any, chosen: Sequence[str], probabilities: Mapping[str, Any]
) -> ClassifiedImage:
    number = parse_whole_number(plane)
    parsed = {str(name): parse_number(value, 0, 1) for name, value in probabilities.items()}
    known = {name: value for name, value in parsed.items() if value is not None}
    if number is None or len(known) < len(parsed) or not set(chosen) <= set(known):
        raise ValueError(f"what it says of {source} cannot be read")
    return ClassifiedImage(source, number, tuple(chosen), known)
