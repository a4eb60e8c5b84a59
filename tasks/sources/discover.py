"""A file or folder of a microscope as scans: which files belong together, and where they lie.

The files of a folder whose names give row and column are the tiles of one scan, in one
system of coordinates. Any other file is a scan by itself, with its own; files that differ in
their plane alone are one stack.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypedDict

from tasks.readers import vendor
from tasks.readers.ome_zarr import is_store
from tasks.sources import filename_patterns

IMAGE_ENDINGS = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".avif", ".tif", ".tiff", *vendor.READERS}
)

# Numbers that leave more than three quarters of a grid empty are no rows and columns, but
# places in px, dates or the like.
_SPARSEST = 4


class Skipped(TypedDict):
    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class File:
    """An image file. name: its path within `root`, the source. plane: None where its name has
    none."""

    root: Path
    name: str
    plane: int | None = None

    @property
    def path(self) -> Path:
        return self.root / self.name  # made when it is wanted: a scan may have 100,000 files

    def mark(self) -> str:
        """Changes when the file does."""
        try:
            state = self.path.stat()
        except OSError:
            return f"{self.name}:gone"
        return f"{self.name}:{state.st_size}:{state.st_mtime_ns}"


@dataclass(frozen=True, slots=True)
class Spot:
    """The files that show one place of a scan, by plane; row and column count from 0."""

    row: int
    column: int
    files: tuple[File, ...]

    @property
    def name(self) -> str:
        return self.files[0].name


@dataclass(frozen=True)
class Group:
    """Files that make one scan. placed: whether its spots are neighbours by row and column.

    name: of the scan: its folder's where it is placed, else its (first) file's. folder: the
    folder that it lies in, as people call it. number, of: its place among the scans of that
    folder, from 0, and how many those are. channelled: whether its files are of one channel
    each.
    """

    name: str
    folder: str
    placed: bool
    spots: tuple[Spot, ...]
    number: int = 0
    of: int = 1
    channelled: bool = False


@dataclass(frozen=True)
class Found:
    """What a source holds. notes: how it was understood, in words, for the user."""

    groups: list[Group] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def look_through(
    source: Path,
    pattern: re.Pattern[str] | None = None,
    channel: int | None = None,
    *,
    apart: bool = False,
) -> Found:
    """The scans of a file or folder, in natural order.

    pattern: of the names, see `naming.pattern`; else the usual ones. channel: the one that
    is looked at where names tell it; else the first. apart: names mean nothing, every file
    is a scan.

    Raises FileNotFoundError, ValueError where the folder holds no image.
    """
    paths, skipped = image_files(source)
    if not paths and not skipped:
        raise ValueError(f"{source} holds no images ({', '.join(sorted(IMAGE_ENDINGS))})")
    found = Found(skipped=skipped)
    if source.is_file() or is_store(source):
        file = File(source.parent, source.name)
        label = source.resolve().parent.name
        found.groups.append(Group(source.name, label, False, (Spot(0, 0, (file,)),)))
        return found
    together: dict[tuple[str, str], list[tuple[File, filename_patterns.Name]]] = {}
    for path in paths:
        name = _name(path, source)
        said = (
            filename_patterns.plain(path.name)
            if apart
            else filename_patterns.read(path.name, pattern)
        )
        if said is None:
            reason = "its name does not fit --pattern"
            skipped.append({"source": name, "reason": reason})
            continue
        folder = name.rpartition("/")[0]
        together.setdefault((folder, said.rest), []).append((File(source, name, said.plane), said))
    for (folder, _), members in together.items():
        label = folder or source.resolve().name
        members = _of_channel(members, channel, found.notes)
        channelled = any(said.channel is not None for _, said in members)
        found.groups.extend(
            replace(group, channelled=channelled) for group in _groups(members, label, skipped)
        )
    return _numbered(_named_apart(found))


def _named_apart(found: Found) -> Found:
    """Two scans of one folder are told apart by what their files' names share."""
    names = Counter(group.name for group in found.groups if group.placed)
    for number, group in enumerate(found.groups):
        if names[group.name] > 1:
            shared = os.path.commonprefix([spot.name for spot in group.spots])
            # 'monday_r1_c1', 'monday_r1_c2': monday.
            name = re.sub(r"[-_. ]+[a-z]{0,6}$", "", shared, flags=re.IGNORECASE)
            found.groups[number] = replace(group, name=name or group.name)
    return found


def _numbered(found: Found) -> Found:
    places: Counter[str] = Counter()
    for number, group in enumerate(found.groups):
        found.groups[number] = replace(group, number=places[group.folder])
        places[group.folder] += 1
    found.groups[:] = [replace(group, of=places[group.folder]) for group in found.groups]
    return found


def _of_channel(
    members: list[tuple[File, filename_patterns.Name]], channel: int | None, notes: list[str]
) -> list[tuple[File, filename_patterns.Name]]:
    channels = sorted({said.channel for _, said in members if said.channel is not None})
    if not channels:
        return members
    chosen = channels[0] if channel is None else channel
    if chosen not in channels:
        raise ValueError(
            f"--channel {channel}: the names of the files know {', '.join(map(str, channels))}"
        )
    if len(channels) > 1:
        note = f"channel {chosen} of {', '.join(map(str, channels))} (--channel)"
        if note not in notes:
            notes.append(note)
    return [one for one in members if one[1].channel in (chosen, None)]


def _groups(
    members: list[tuple[File, filename_patterns.Name]],
    label: str,
    skipped: list[Skipped],
) -> list[Group]:
    """One scan of files that lie side by side, or of a single place, where that makes sense."""
    if not _is_grid([said for _, said in members]):
        if members[0][1].row is None:
            return [_single(members, label, skipped)]
        return [_single([one], label, skipped) for one in members]
    spots: dict[tuple[int, int], list[tuple[File, filename_patterns.Name]]] = {}
    for file, said in members:
        assert said.row is not None and said.column is not None
        spots.setdefault((said.row, said.column), []).append((file, said))
    top = min(row for row, _ in spots)
    left = min(column for _, column in spots)
    placed = tuple(
        Spot(row - top, column - left, _planes(spots[row, column], skipped))
        for row, column in sorted(spots)
    )
    return [Group(label, label, True, placed)]


def _is_grid(names: Sequence[filename_patterns.Name]) -> bool:
    rows = [one.row for one in names if one.row is not None]
    columns = [one.column for one in names if one.column is not None]
    if len(rows) < len(names) or len(set(zip(rows, columns, strict=True))) < 2:
        return False
    cells = (max(rows) - min(rows) + 1) * (max(columns) - min(columns) + 1)
    return cells <= _SPARSEST * len(set(zip(rows, columns, strict=True)))


def _single(
    members: list[tuple[File, filename_patterns.Name]], label: str, skipped: list[Skipped]
) -> Group:
    files = _planes(members, skipped)
    return Group(files[0].name, label, False, (Spot(0, 0, files),))


def _planes(
    members: list[tuple[File, filename_patterns.Name]], skipped: list[Skipped]
) -> tuple[File, ...]:
    """The files of one place in the order of their planes; of two for one plane the first."""
    planes: dict[int | None, File] = {}
    for file, said in members:
        first = planes.setdefault(said.plane, file)
        if first is not file:
            reason = f"the same row, column and plane as {first.name}"
            skipped.append({"source": file.name, "reason": reason})
    return tuple(planes[number] for number in sorted(planes, key=lambda one: one or 0))


def image_files(source: Path) -> tuple[list[Path], list[Skipped]]:
    """The images of a folder by ending, in natural order, and where no images were looked for:
    links that were not followed, folders that cannot be read.

    A source that is a file is taken whatever its ending; a folder of OME-Zarr counts as a
    file. Hidden files are no images; links to files elsewhere in the folder are kept, links
    out of it are not. Raises FileNotFoundError; OSError where the folder itself cannot be read.
    """
    if source.is_file() or is_store(source):
        return [source], []
    if not source.is_dir():
        raise FileNotFoundError(f"{source}: there is no such file or folder")
    paths: list[Path] = []
    skipped: list[Skipped] = []
    inside = source.resolve()

    def unread(error: OSError) -> None:
        folder = Path(error.filename)
        if folder == source:
            raise error
        reason = f"the folder cannot be read: {error.strerror}"
        skipped.append({"source": _name(folder, source), "reason": reason})

    def leads_out(path: Path) -> bool:
        if not path.is_symlink() or path.resolve().is_relative_to(inside):
            return False
        reason = "a link that leads out of the folder is not followed"
        skipped.append({"source": _name(path, source), "reason": reason})
        return True

    for folder, folders, files in os.walk(source, onerror=unread):
        folders[:] = [name for name in folders if not name.startswith(".")]
        folders[:] = [name for name in folders if not leads_out(Path(folder, name))]
        stores = [name for name in folders if is_store(Path(folder, name))]
        folders[:] = [name for name in folders if name not in stores]
        for name in files + stores:
            path = Path(folder, name)
            if name.startswith("."):
                continue
            if path.suffix.lower() not in IMAGE_ENDINGS and name not in stores:
                continue
            if name in stores or not leads_out(path):
                paths.append(path)
    skipped.sort(key=lambda entry: natural_key(entry["source"]))
    return sorted(paths, key=lambda path: natural_key(_name(path, source))), skipped


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sorts tile2 before tile10, and upper and lower case together."""
    parts = re.split(r"(\d+)", name.casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def _name(path: Path, source: Path) -> str:
    return path.name if path == source else path.relative_to(source).as_posix()
