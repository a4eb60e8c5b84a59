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

from ml_backend.system.plain_files import find_obstacle, show_name
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
    """What was left out.

    Attributes:
        source: Its name, relative to where it was looked for.
        reason: Why, in one line.
    """

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class SourceFile:
    """An image file.

    Attributes:
        root: The source that it belongs to.
        name: Its path within `root`.
        plane: What its name says, None where that has none.
    """

    root: Path
    name: str
    plane: int | None = None

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.root / self.name  # made when it is wanted: a scan may have 100,000 files

    def mark(self) -> str:
        """Return what changes when the file does."""
        try:
            state = self.path.stat()
        except OSError:
            return f"{self.name}:gone"
        return f"{self.name}:{state.st_size}:{state.st_mtime_ns}"


@dataclass(frozen=True, slots=True)
class TileFiles:
    """The files that show one tile of a scan.

    Attributes:
        row: In the grid, from 0.
        column: In the grid, from 0.
        files: By plane.
    """

    row: int
    column: int
    files: tuple[SourceFile, ...]

    @property
    def name(self) -> str:
        """Of its first file."""
        return self.files[0].name


@dataclass(frozen=True)
class ScanFiles:
    """Files that make one scan.

    Attributes:
        name: Of the scan: its folder's where it is placed, else its (first) file's.
        folder: The folder that it lies in, as people call it.
        placed: Whether its tiles are neighbours by row and column.
        tiles: In natural order, or by row and column.
        number: Its place among the scans of its folder, from 0.
        of: How many those are.
        channelled: Whether its files are of one channel each.
    """

    name: str
    folder: str
    placed: bool
    tiles: tuple[TileFiles, ...]
    number: int = 0
    of: int = 1
    channelled: bool = False


@dataclass(frozen=True)
class DiscoveredScans:
    """What a source holds.

    Attributes:
        groups: The files of each scan, in natural order.
        skipped: What is left out, and why.
        notes: How it was understood, in words for the user.
    """

    groups: list[ScanFiles] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def discover_scans(
    source: Path,
    pattern: re.Pattern[str] | None = None,
    channel: int | None = None,
    *,
    apart: bool = False,
) -> DiscoveredScans:
    """Find the scans of a file or folder by the names of its files; none of them is opened.

    Args:
        source: The file or folder.
        pattern: Of the names, see `filename_patterns.compile_pattern`; else the usual ones.
        channel: The one that is looked at where names tell it; else the first.
        apart: Names mean nothing, every file is a scan.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ValueError: The folder holds no image, or no file is of that channel.
    """
    paths, skipped = list_image_files(source)
    if not paths and not skipped:
        raise ValueError(f"{source} holds no images ({', '.join(sorted(IMAGE_ENDINGS))})")
    found = DiscoveredScans(skipped=skipped)
    if source.is_file() or is_store(source):
        file = SourceFile(source.parent, source.name)
        label = source.resolve().parent.name
        found.groups.append(ScanFiles(source.name, label, False, (TileFiles(0, 0, (file,)),)))
        return found
    together: dict[tuple[str, str], list[tuple[SourceFile, filename_patterns.TileName]]] = {}
    for path in paths:
        name = _name(path, source)
        numbers = (
            filename_patterns.ignore_numbers(path.name)
            if apart
            else filename_patterns.parse_name(path.name, pattern)
        )
        if numbers is None:
            reason = "its name does not fit --pattern"
            skipped.append({"source": name, "reason": reason})
            continue
        folder = name.rpartition("/")[0]
        file = SourceFile(source, name, numbers.plane)
        together.setdefault((folder, numbers.rest), []).append((file, numbers))
    for (folder, _), members in together.items():
        label = folder or source.resolve().name
        members = _of_channel(members, channel, found.notes)
        channelled = any(numbers.channel is not None for _, numbers in members)
        found.groups.extend(
            replace(group, channelled=channelled) for group in _groups(members, label, skipped)
        )
    return _numbered(_named_apart(found))


def _named_apart(found: DiscoveredScans) -> DiscoveredScans:
    """Two scans of one folder are told apart by what their files' names share."""
    names = Counter(group.name for group in found.groups if group.placed)
    for number, group in enumerate(found.groups):
        if names[group.name] > 1:
            shared = os.path.commonprefix([tile.name for tile in group.tiles])
            # 'monday_r1_c1', 'monday_r1_c2': monday.
            name = re.sub(r"[-_. ]+[a-z]{0,6}$", "", shared, flags=re.IGNORECASE)
            found.groups[number] = replace(group, name=name or group.name)
    return found


def _numbered(found: DiscoveredScans) -> DiscoveredScans:
    places: Counter[str] = Counter()
    for number, group in enumerate(found.groups):
        found.groups[number] = replace(group, number=places[group.folder])
        places[group.folder] += 1
    found.groups[:] = [replace(group, of=places[group.folder]) for group in found.groups]
    return found


def _of_channel(
    members: list[tuple[SourceFile, filename_patterns.TileName]],
    channel: int | None,
    notes: list[str],
) -> list[tuple[SourceFile, filename_patterns.TileName]]:
    channels = sorted({name.channel for _, name in members if name.channel is not None})
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
    return [member for member in members if member[1].channel in (chosen, None)]


def _groups(
    members: list[tuple[SourceFile, filename_patterns.TileName]],
    label: str,
    skipped: list[Skipped],
) -> list[ScanFiles]:
    """One scan of files that lie side by side, or of a single place, where that makes sense."""
    if not _is_grid([name for _, name in members]):
        if members[0][1].row is None:
            return [_single(members, label, skipped)]
        return [_single([member], label, skipped) for member in members]
    tiles: dict[tuple[int, int], list[tuple[SourceFile, filename_patterns.TileName]]] = {}
    for file, name in members:
        assert name.row is not None and name.column is not None
        tiles.setdefault((name.row, name.column), []).append((file, name))
    top = min(row for row, _ in tiles)
    left = min(column for _, column in tiles)
    placed = tuple(
        TileFiles(row - top, column - left, _planes(tiles[row, column], skipped))
        for row, column in sorted(tiles)
    )
    return [ScanFiles(label, label, True, placed)]


def _is_grid(names: Sequence[filename_patterns.TileName]) -> bool:
    rows = [name.row for name in names if name.row is not None]
    columns = [name.column for name in names if name.column is not None]
    if len(rows) < len(names) or len(set(zip(rows, columns, strict=True))) < 2:
        return False
    cells = (max(rows) - min(rows) + 1) * (max(columns) - min(columns) + 1)
    return cells <= _SPARSEST * len(set(zip(rows, columns, strict=True)))


def _single(
    members: list[tuple[SourceFile, filename_patterns.TileName]], label: str, skipped: list[Skipped]
) -> ScanFiles:
    files = _planes(members, skipped)
    return ScanFiles(files[0].name, label, False, (TileFiles(0, 0, files),))


def _planes(
    members: list[tuple[SourceFile, filename_patterns.TileName]], skipped: list[Skipped]
) -> tuple[SourceFile, ...]:
    """The files of one place in the order of their planes; of two for one plane the first."""
    planes: dict[int | None, SourceFile] = {}
    for file, name in members:
        first = planes.setdefault(name.plane, file)
        if first is not file:
            reason = f"the same row, column and plane as {first.name}"
            skipped.append({"source": file.name, "reason": reason})
    return tuple(planes[number] for number in sorted(planes, key=lambda plane: plane or 0))


def list_image_files(source: Path) -> tuple[list[Path], list[Skipped]]:
    """List the images of a folder and its folders by their endings.

    A source that is a file is taken whatever its ending; a folder of OME-Zarr counts as a
    file. Hidden files are no images; links to files elsewhere in the folder are kept, links
    out of it are not.

    Returns:
        The images in natural order; and where no images were looked for: links that were not
        followed, folders that cannot be read.

    Raises:
        FileNotFoundError: There is no such file or folder.
        OSError: The folder itself cannot be read.
    """
    if source.is_file() or is_store(source):
        return [source], []
    if source.exists() and not source.is_dir():
        raise ValueError(f"{source}: {find_obstacle(source)}")
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
        skipped.append({"source": show_name(_name(folder, source)), "reason": reason})

    def is_refused(path: Path) -> bool:
        reason = find_obstacle(path)
        if not reason and path.is_symlink() and not path.resolve().is_relative_to(inside):
            reason = "a link that leads out of the folder is not followed"
        if reason:
            skipped.append({"source": show_name(_name(path, source)), "reason": reason})
        return bool(reason)

    for folder, folders, files in os.walk(source, onerror=unread):
        folders[:] = [name for name in folders if not name.startswith(".")]
        folders[:] = [name for name in folders if not is_refused(Path(folder, name))]
        stores = [name for name in folders if is_store(Path(folder, name))]
        folders[:] = [name for name in folders if name not in stores]
        for name in files + stores:
            path = Path(folder, name)
            if name.startswith("."):
                continue
            if path.suffix.lower() not in IMAGE_ENDINGS and name not in stores:
                continue
            if name in stores or not is_refused(path):
                paths.append(path)
    skipped.sort(key=lambda entry: split_numbers(entry["source"]))
    return sorted(paths, key=lambda path: split_numbers(_name(path, source))), skipped


def split_numbers(name: str) -> tuple[list[tuple[int, str]], str]:
    """Return a key that sorts tile2 before tile10, and upper and lower case together."""
    parts = re.split(r"([0-9]+)", name.casefold())
    # By length first, and not as numbers: a name may hold more digits than `int` reads.
    return [
        (len(digits := part.lstrip("0")), digits) if i % 2 else (0, part)
        for i, part in enumerate(parts)
    ], name


def _name(path: Path, source: Path) -> str:
    return path.name if path == source else path.relative_to(source).as_posix()
