"""A report: one page with its pictures inside, the pictures as files, and the tables as CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from ml_backend.label_studio.class_names import canonicalize
from ml_backend.system.atomic_files import replacing
from tasks.exchange.image_names import flatten
from tasks.reports import page, pictures
from tasks.reports.counts import Count, Field, Thing, counts
from tasks.reports.mitotic_index import INTERPHASE, Index, indices
from tasks.reports.source import Source
from tasks.sources.discover import IMAGE_ENDINGS

PAGE = "report.html"
COUNTS, INDICES, OBJECTS, CORRECTIONS = (
    "counts.csv",
    "indices.csv",
    "objects.csv",
    "corrections.csv",
)
PICTURES = "pictures"

# What the page itself shows; all else is in the files beside it, and the page says so.
MOST_OVERVIEWS = 12
MOST_THUMBS = 400


@dataclass(frozen=True)
class Numbered:
    """An object with the number that it has in all tables and pictures."""

    number: int
    field: Field
    thing: Thing


def report(
    source: Source, out: Path, progress: Callable[[float, float | None], None]
) -> dict[str, Any]:
    """Write the report of a source into a folder; as JSON what it says.

    out: is made where it is not there; files of an earlier report in it are replaced.
    Each file appears when it is complete, the page last. Raises OSError.
    """
    objects = _numbered(source.fields)
    rows = counts(source.fields, source.classes)
    found = indices(source.fields)
    files = [_csv(out / COUNTS, Count.__annotations__, map(asdict, rows))]
    files.append(_csv(out / OBJECTS, _COLUMNS, map(_record, objects)))
    if found:
        files.append(_csv(out / INDICES, _INDEX_COLUMNS, map(_index, found)))
    if source.corrections:
        files.append(_csv(out / CORRECTIONS, _CORRECTION_COLUMNS, _corrections(source)))
    shown = _pictures(source, objects, out / PICTURES, progress)
    files += shown.files
    states = [look.state for one in source.fields for look in one.looks]
    result = {
        "title": source.title,
        "images": len(states),
        "reviewed_images": states.count("reviewed"),
        "waiting_images": states.count("waiting"),
        "model": source.model,
        "classes": list(source.classes),
        "counts": [asdict(row) for row in rows],
        "indices": [_index(one) for one in found],
        "why_no_index": _why_not(source, found),
        "corrections": [asdict(one) for one in source.corrections],
        "started_from_nothing": source.from_nothing,
        "annotators": source.annotators,
        "several_annotators": len(source.agreements),
        "agreement": fmean(source.agreements) if source.agreements else None,
        "skipped": source.skipped,
    }
    with replacing(out / PAGE) as temporary:
        temporary.write_text(page.render(result, source, rows, found, shown), encoding="utf-8")
    _remove_stale(out, files)
    return {"page": str(out / PAGE), "files": list(map(str, files)), **result}


def _numbered(fields: Iterable[Field]) -> list[Numbered]:
    objects: list[Numbered] = []
    for one in fields:
        for thing in sorted(one.things, key=lambda thing: (thing.box[1], thing.box[0])):
            objects.append(Numbered(len(objects) + 1, one, thing))
    return objects


def _why_not(source: Source, found: Sequence[Index]) -> str:
    """Why there is no mitotic index, in words; '' where there is one."""
    if found:
        return ""
    if INTERPHASE not in map(canonicalize, source.classes):
        return "the labels have no class of interphase nuclei to divide by"
    return "no interphase nuclei are marked, so there is nothing to divide by"


# Tables.

_COLUMNS = (
    "number", "scan", "image", "label", "x1", "y1", "x2", "y2", "plane",
    "reviewed", "confidence", "partial",
)  # fmt: skip
_INDEX_COLUMNS = (
    "scan", "kind", "of", "reviewed", "part", "whole", "value", "low", "high", "images",
)  # fmt: skip
_CORRECTION_COLUMNS = (
    "version", "label", "kept", "moved", "relabelled", "added", "deleted",
)  # fmt: skip


def _record(one: Numbered) -> dict[str, Any]:
    """Coordinates are px of the scan, or of the image where it stands alone."""
    thing = one.thing
    return {
        "number": one.number,
        "scan": one.field.scan,
        "image": one.field.looks[thing.look].name,
        "label": thing.label,
        **dict(zip(("x1", "y1", "x2", "y2"), (round(v, 2) for v in thing.box), strict=True)),
        "plane": thing.plane,
        "reviewed": int(one.field.reviewed(thing)),
        "confidence": "" if thing.confidence is None else round(thing.confidence, 4),
        "partial": int(thing.partial),
    }


def _index(one: Index) -> dict[str, Any]:
    record = asdict(one)
    interval = record.pop("interval")
    low, high = interval or (None, None)
    return {**record, "low": low, "high": high}


def _corrections(source: Source) -> Iterator[dict[str, Any]]:
    for one in source.corrections:
        for label, changes in one.classes.items():
            yield {"version": one.version, "label": label} | {str(k): v for k, v in changes.items()}


def _csv(path: Path, columns: Iterable[str], records: Iterable[dict[str, Any]]) -> Path:
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        table = csv.DictWriter(file, list(columns))
        table.writeheader()
        table.writerows(records)
    return path


# Pictures.


def _pictures(
    source: Source,
    objects: Sequence[Numbered],
    folder: Path,
    progress: Callable[[float, float | None], None],
) -> page.Pictures:
    shown = page.Pictures()
    if source.pixels is None:
        return shown
    chosen = _to_show_whole(source)
    numbers = {(id(one.field), id(one.thing)): one.number for one in objects}
    thumbs: dict[str, list[page.Thumb]] = {label: [] for label in source.headline}
    names: set[str] = set()
    fields = [
        one
        for one in source.fields
        if id(one) in chosen or any(thing.label in source.headline for thing in one.things)
    ]
    for done, one in enumerate(fields):
        made = pictures.show(
            one,
            source.pixels,
            source.colours,
            source.headline,
            whole=id(one) in chosen,
            skipped=source.skipped,
        )
        for place, content in made.thumbs.items():
            thing = one.things[place]
            number = numbers[id(one), id(thing)]
            name = one.looks[thing.look].name
            thumbs[thing.label].append(
                page.Thumb(number, name, one.reviewed(thing), thing, content)
            )
        if made.overview is not None:
            name = _free(f"overview-{_bare(one.name)}", names)
            content = pictures.encoded(made.overview, "PNG")
            shown.files.append(_write(folder / f"{name}.png", content))
            shown.overviews.append(page.Overview(one, pictures.encoded(made.overview)))
        progress(done + 1, len(fields))
    shown.left_out = len(source.fields) - len(shown.overviews)
    sheet = pictures.ACROSS * pictures.DOWN
    for label, ones in thumbs.items():
        ones.sort(key=lambda thumb: thumb.number)
        shown.thumbs[label] = ones[:MOST_THUMBS]
        shown.of[label] = len(ones)
        for start in range(0, len(ones), sheet):
            part = [
                (f"{one.number}  {one.name}", one.content) for one in ones[start : start + sheet]
            ]
            name = _free(f"contact-{flatten(label)}-{start // sheet + 1}", names)
            content = pictures.encoded(pictures.contact_sheet(part))
            shown.files.append(_write(folder / f"{name}.jpg", content))
    return shown


def _to_show_whole(source: Source) -> set[int]:
    """The fields with an overview, by id: those with most of what the labels are about."""

    def objects(one: Field) -> int:
        return sum(thing.label in source.headline for thing in one.things)

    ranked = sorted(source.fields, key=lambda one: (-len(one.looks), -objects(one)))
    return {id(one) for one in ranked[:MOST_OVERVIEWS]}


def _bare(name: str) -> str:
    """A name of an image as that of another file: without its ending, in no folder."""
    path = Path(flatten(name))
    return path.stem if path.suffix.lower() in IMAGE_ENDINGS else path.name


def _free(name: str, taken: set[str]) -> str:
    free, number = name, 1
    while free.casefold() in taken:
        number += 1
        free = f"{name}-{number}"
    taken.add(free.casefold())
    return free


def _write(path: Path, content: bytes) -> Path:
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return path


def _remove_stale(out: Path, files: Sequence[Path]) -> None:
    """Pictures and tables of an earlier report of which this one has none."""
    kept = set(files)
    for name in (INDICES, CORRECTIONS):
        if out / name not in kept:
            (out / name).unlink(missing_ok=True)
    for kind in ("overview-*.png", "contact-*.jpg"):
        for file in (out / PICTURES).glob(kind):
            if file not in kept:
                file.unlink(missing_ok=True)
