"""A file or folder of a microscope, examined once for all who read it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tasks.readers.header import Header
from tasks.readers.open import choose_sampled, examine, measure_common_limits, open_scan
from tasks.readers.planes import Rendering, ScanPlane
from tasks.sources import filename_patterns
from tasks.sources.discover import ScanFiles, Skipped, SourceFile, discover_scans

Depth = Literal["each", "max", "focus"]

KEPT = 1024  # headers that wait until their file is read, at most; one takes a few kB


@dataclass(frozen=True)
class SourceOptions:
    """How a source is read.

    Attributes:
        apart: Every file is a scan by itself, whatever its name says.
        pattern: Of the files' names, see `filename_patterns.compile_pattern`; else the usual ones.
        channel: The one that is looked at, from 0; else colours, or the first.
        depth: Planes of a stack: each, the brightest of each pixel (max), the sharpest (focus).
        tile_overlap: What neighbouring tiles share, px; None: to be found out.
        pixel_size: µm that a pixel shows; None: what the files say.
    """

    apart: bool = False
    pattern: str | None = None
    channel: int | None = None
    depth: Depth = "each"
    tile_overlap: int | None = None
    pixel_size: float | None = None


class ScanSource:
    """What a source holds: its scans, and what the headers of its files say.

    The headers that are read ahead, to know the size of tiles, where the stage was, what is
    black and white, and how much a pixel shows, are kept until their files are read. All
    methods may be called from several threads.

    Attributes:
        path: The file or folder.
        options: How it is read.
        groups: The files of each scan, in natural order.
        skipped: What is left out and why; whoever reads on adds to it.
        notes: How it was understood, in words for the user; whoever reads on adds to it.
        pixel_size: µm that a pixel shows, as the user or the first file says; None if neither.
    """

    def __init__(self, path: Path, options: SourceOptions) -> None:
        """Look through a source.

        Raises:
            FileNotFoundError: There is no such file or folder.
            ValueError: It holds no image, or not what `options` ask for.
        """
        pattern = filename_patterns.compile_pattern(options.pattern) if options.pattern else None
        found = discover_scans(path.absolute(), pattern, options.channel, apart=options.apart)
        self.path, self.options = path, options
        self.groups: list[ScanFiles] = found.groups
        self.skipped: list[Skipped] = found.skipped
        self.notes: list[str] = found.notes
        self._headers: OrderedDict[tuple[SourceFile, int | None], Header] = OrderedDict()
        self._renderings: dict[str, Rendering] = {}
        self._lock = threading.Lock()
        self.pixel_size = options.pixel_size or self._first_pixel_size()

    def _first_pixel_size(self) -> float | None:
        for group in self.groups:
            return self.examine(group.tiles[0].files[0], self._channel(group)).pixel_size
        return None

    def _channel(self, group: ScanFiles) -> int | None:
        """Of files of one channel each the name has chosen it."""
        return None if group.channelled else self.options.channel

    def examine(self, file: SourceFile, channel: int | None) -> Header:
        """Return the header of a file, which is read at the first call and kept.

        Args:
            file: A file of the source.
            channel: The one that is looked at, as `rendering` says.
        """
        with self._lock:
            header = self._headers.get((file, channel))
        if header is None:
            header = examine(file.path, channel)
            with self._lock:
                self._headers[file, channel] = header
                while len(self._headers) > KEPT:
                    self._headers.popitem(last=False)
        return header

    def open_ahead(self, file: SourceFile, rendering: Rendering) -> list[ScanPlane]:
        """Open a file whose turn is still to come; its header is kept.

        Raises:
            UnreadableImage: It cannot be read; names the file.
        """
        return open_scan(file.path, rendering, self.examine(file, rendering.channel))

    def open(self, file: SourceFile, rendering: Rendering) -> list[ScanPlane]:
        """Open a file in its turn; its header is not kept any longer.

        Raises:
            UnreadableImage: It cannot be read; names the file.
        """
        with self._lock:
            header = self._headers.pop((file, rendering.channel), None)
        return open_scan(file.path, rendering, header)

    def choose_rendering(self, group: ScanFiles) -> Rendering:
        """Return how a scan is shown; black and white are the same in all files of a folder."""
        with self._lock:
            known = self._renderings.get(group.folder)
        if known is not None:
            return known
        channel = self._channel(group)
        files = {
            file.path: file
            for other in self.groups
            if other.folder == group.folder
            for tile in other.tiles
            for file in tile.files
        }
        headers = []
        if len(files) > 1:
            headers = [self.examine(files[path], channel) for path in choose_sampled([*files])]
        rendering = Rendering(channel, measure_common_limits(headers))
        with self._lock:
            return self._renderings.setdefault(group.folder, rendering)
