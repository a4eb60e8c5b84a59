"""A report: one page with its pictures inside, the pictures as files, and the tables as CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from ml_backend.counting.estimates import ProjectCount
from ml_backend.counting.records import to_json
from ml_backend.label_studio.class_names import canonicalize
from ml_backend.system.atomic_files import replace_file
from ml_backend.system.batching import make_batches
from ml_backend.system.csv_cells import write_cell
from tasks.exchange.image_names import flatten
from tasks.reports import page, pictures
from tasks.reports.class_shares import ClassShare, compute_shares
from tasks.reports.counts import Count, ImageGroup, MarkedObject, count_objects
from tasks.reports.estimate_picture import draw_estimates
from tasks.reports.mitotic_index import INTERPHASE, MitoticIndex, compute_indices
from tasks.reports.source import ReportSource
from tasks.sources.discover import IMAGE_ENDINGS

PAGE = "report.html"
COUNTS, SHARES, INDICES, OBJECTS, CORRECTIONS = (
    "counts.csv",
    "shares.csv",
    "indices.csv",
    "objects.csv",
    "corrections.csv",
)
ESTIMATES = "estimates.csv"
PICTURES = "pictures"
ESTIMATE_PICTURE = "estimate.png"

# At most so many are on the page, which says so; the other thumbnails are in the files beside it.
MOST_OVERVIEWS = 12
MOST_THUMBNAILS = 400


@dataclass(frozen=True)
class NumberedObject:
    """An object with the number that it has in all tables and pictures.

    Attributes:
        number: From 1.
        group: The group of images that it is on.
        marked: The object.
    """

    number: int
    group: ImageGroup
    marked: MarkedObject


def write_report(
    source: ReportSource, out: Path, progress: Callable[[float, float | None], None]
) -> dict[str, Any]:
    """Write a report into a folder.

    Each file appears when it is complete, the page last.

    Args:
        source: What the report is made of; what cannot be read is added to its `skipped`.
        out: Is made where it is not there; the files of an earlier report in it are replaced.
        progress: Called with (groups done, groups in all) while pictures are made.

    Returns:
        What `cytoloop report --json` prints.

    Raises:
        OSError: The folder cannot be written.
    """
    objects = _number_objects(source.groups)
    rows = count_objects(source.groups, source.classes)
    # A share among tiles that were drawn unevenly is not that of all; the estimate is.
    uneven = isinstance(source.count, ProjectCount) and not source.count.is_even
    indices = [] if uneven else compute_indices(source.groups, source.dividing)
    files = [_write_csv(out / COUNTS, Count.__annotations__, map(asdict, rows))]
    files.append(_write_csv(out / OBJECTS, _COLUMNS, map(_to_object_record, objects)))
    if indices:
        files.append(_write_csv(out / INDICES, _INDEX_COLUMNS, map(_to_index_record, indices)))
    named = source.names_images and not uneven
    shares = compute_shares(source.groups, source.classes) if named else []
    if shares:
        files.append(_write_csv(out / SHARES, ClassShare.__annotations__, map(asdict, shares)))
    if source.corrections:
        corrections = _to_correction_records(source)
        files.append(_write_csv(out / CORRECTIONS, _CORRECTION_COLUMNS, corrections))
    estimated = None if source.count is None else to_json(source.count)
    if estimated and estimated["estimates"]:
        records = map(_to_estimate_record, estimated["estimates"])
        files.append(_write_csv(out / ESTIMATES, _ESTIMATE_COLUMNS, records))
    shown = _write_pictures(source, objects, out / PICTURES, progress)
    files += shown.files
    states = [image.state for group in source.groups for image in group.images]
    result = {
        "title": source.title,
        "images": len(states),
        "reviewed_images": states.count("reviewed"),
        "waiting_images": states.count("waiting"),
        "model": source.model,
        "classes": list(source.classes),
        "counts": [asdict(row) for row in rows],
        "shares": [asdict(share) for share in shares],
        "indices": [_to_index_record(index) for index in indices],
        "why_no_index": _explain_missing_index(source, indices),
        "corrections": [asdict(version) for version in source.corrections],
        "started_from_nothing": source.from_nothing,
        "annotators": source.annotators,
        "several_annotators": len(source.agreements),
        "agreement": fmean(source.agreements) if source.agreements else None,
        "name_agreement": (source.name_agreement.to_json() if source.name_agreement else None),
        "estimated": estimated,
        "skipped": source.skipped,
    }
    with replace_file(out / PAGE) as temporary:
        html = page.render_page(result, source, rows, indices, shown)
        temporary.write_text(html, encoding="utf-8")
    _remove_stale(out, files)
    return {"page": str(out / PAGE), "files": list(map(str, files)), **result}


def _number_objects(groups: Iterable[ImageGroup]) -> list[NumberedObject]:
    objects: list[NumberedObject] = []
    for group in groups:
        for marked in sorted(group.objects, key=lambda marked: (marked.box[1], marked.box[0])):
            objects.append(NumberedObject(len(objects) + 1, group, marked))
    return objects


def _explain_missing_index(source: ReportSource, indices: Sequence[MitoticIndex]) -> str:
    """Why there is no mitotic index, in words; "" where there is one."""
    if indices:
        return ""
    if isinstance(source.count, ProjectCount) and not source.count.is_even:
        return (
            "tiles with many cells were more likely to be reviewed, so that a share among the "
            "reviewed ones is not that of all; the estimate above is"
        )
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
_ESTIMATE_COLUMNS = (
    "sample", "what", "kind", "value", "low", "high", "holds", "classical_low", "classical_high",
    "counted", "naive", "method", "reviewed", "total",
)  # fmt: skip
_CORRECTION_COLUMNS = (
    "version", "label", "kept", "moved", "relabelled", "added", "deleted",
)  # fmt: skip


def _to_object_record(numbered: NumberedObject) -> dict[str, Any]:
    """A row of the table; coordinates are px of the scan, or of the image if it is in none.

    An image that is called something as a whole has no corners.
    """
    group, marked = numbered.group, numbered.marked
    x1, y1, x2, y2 = (round(value, 2) for value in marked.box)
    corners = {} if marked.whole else {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return {
        "number": numbered.number,
        "scan": group.scan,
        "image": group.images[marked.image].name,
        "label": marked.label,
        **corners,
        "plane": marked.plane,
        "reviewed": int(group.is_reviewed(marked)),
        "confidence": "" if marked.confidence is None else round(marked.confidence, 4),
        "partial": int(marked.partial),
    }


def _to_index_record(index: MitoticIndex) -> dict[str, Any]:
    record = asdict(index)
    interval = record.pop("interval")
    low, high = interval or (None, None)
    return {**record, "low": low, "high": high}


def _to_estimate_record(estimate: dict[str, Any]) -> dict[str, Any]:
    record = dict(estimate)
    record["low"], record["high"] = record.pop("interval") or (None, None)
    classical = record.pop("classical_interval") or (None, None)
    record["classical_low"], record["classical_high"] = classical
    return record


def _to_correction_records(source: ReportSource) -> Iterator[dict[str, Any]]:
    for version in source.corrections:
        for label, changes in version.classes.items():
            counts = {str(change): count for change, count in changes.items()}
            yield {"version": version.version, "label": label} | counts


def _write_csv(path: Path, columns: Iterable[str], records: Iterable[dict[str, Any]]) -> Path:
    with (
        replace_file(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        table = csv.DictWriter(file, list(columns))
        table.writeheader()
        table.writerows(
            {name: write_cell(value) for name, value in record.items()} for record in records
        )
    return path


# Pictures.


def _write_pictures(
    source: ReportSource,
    objects: Sequence[NumberedObject],
    folder: Path,
    progress: Callable[[float, float | None], None],
) -> page.Pictures:
    shown = page.Pictures()
    if isinstance(source.count, ProjectCount) and (drawn := draw_estimates(source.count)):
        shown.estimate = drawn
        shown.files.append(_write_bytes(folder / ESTIMATE_PICTURE, drawn))
    if source.pixels is None:
        return shown
    whole = _choose_overviews(source)
    numbers = {(id(obj.group), id(obj.marked)): obj.number for obj in objects}
    thumbnails: dict[str, list[page.Thumbnail]] = {label: [] for label in source.headline}
    names: set[str] = set()
    groups = [
        group
        for group in source.groups
        if id(group) in whole or any(m.label in source.headline for m in group.objects)
    ]
    for done, group in enumerate(groups):
        made = pictures.make_pictures(
            group,
            source.pixels,
            source.colours,
            source.headline,
            whole=id(group) in whole,
            skipped=source.skipped,
        )
        for place, content in made.thumbnails.items():
            marked = group.objects[place]
            thumbnails[marked.label].append(
                page.Thumbnail(
                    numbers[id(group), id(marked)],
                    group.images[marked.image].name,
                    group.is_reviewed(marked),
                    marked.confidence,
                    content,
                )
            )
        if made.overview is not None:
            name = _make_unique(f"overview-{_to_file_name(group.name)}", names)
            content = pictures.encode_picture(made.overview, "PNG")
            shown.files.append(_write_bytes(folder / f"{name}.png", content))
            shown.overviews.append(page.Overview(group, pictures.encode_picture(made.overview)))
        progress(done + 1, len(groups))
    shown.left_out = 0 if source.names_images else len(source.groups) - len(shown.overviews)
    for label, members in thumbnails.items():
        members.sort(key=lambda thumbnail: thumbnail.number)
        shown.thumbnails[label] = members[:MOST_THUMBNAILS]
        shown.totals[label] = len(members)
        for sheet, part in enumerate(make_batches(members, pictures.ACROSS * pictures.DOWN)):
            captioned = [(f"{item.number}  {item.name}", item.content) for item in part]
            name = _make_unique(f"contact-{flatten(label)}-{sheet + 1}", names)
            content = pictures.encode_picture(pictures.make_contact_sheet(captioned))
            shown.files.append(_write_bytes(folder / f"{name}.jpg", content))
    return shown


def _choose_overviews(source: ReportSource) -> set[int]:
    """The groups with an overview, by id: those of most images, then of most headline objects."""

    def count_headline(group: ImageGroup) -> int:
        return sum(marked.label in source.headline for marked in group.objects)

    if source.names_images:  # each has its picture among those of its class
        return set()
    ranked = sorted(source.groups, key=lambda group: (-len(group.images), -count_headline(group)))
    return {id(group) for group in ranked[:MOST_OVERVIEWS]}


def _to_file_name(name: str) -> str:
    """The name of an image as a part of the name of another file: no folder, no ending."""
    path = Path(flatten(name))
    return path.stem if path.suffix.lower() in IMAGE_ENDINGS else path.name


def _make_unique(name: str, taken: set[str]) -> str:
    unique, number = name, 1
    while unique.casefold() in taken:
        number += 1
        unique = f"{name}-{number}"
    taken.add(unique.casefold())
    return unique


def _write_bytes(path: Path, content: bytes) -> Path:
    with replace_file(path) as temporary:
        temporary.write_bytes(content)
    return path


def _remove_stale(out: Path, files: Sequence[Path]) -> None:
    """Remove the tables and pictures of an earlier report that this one does not have."""
    kept = set(files)
    for name in (ESTIMATES, SHARES, INDICES, CORRECTIONS):
        if out / name not in kept:
            (out / name).unlink(missing_ok=True)
    for kind in ("overview-*.png", "contact-*.jpg", ESTIMATE_PICTURE):
        for file in (out / PICTURES).glob(kind):
            if file not in kept:
                file.unlink(missing_ok=True)
