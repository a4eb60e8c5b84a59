"""TIFFs as scans: tags, pages and metadata that are no truth."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import tifffile

from tasks.readers.open import open_scan
from tests.hostile.hostile import Hostile, make_tiff, write


def read_planes(path: Path) -> str:
    """Open a file as a scan, and read a little of its first planes."""
    planes = open_scan(path)
    for plane in planes[:3]:
        next(iter(plane.read_windows(64, 8)), None)
    failures = [str(plane.failure or getattr(plane.plane, "reason", "")) for plane in planes]
    sizes = {(plane.width, plane.height) for plane in planes}
    bounded = all(width * height < 10_000 for width, height in sizes)
    return "; ".join(filter(None, failures)) or ("read within bounds" if bounded else "READ")


def describe(text: str) -> Callable[[Path], Path]:
    """Make what writes a small TIFF with a description."""

    def build(folder: Path) -> Path:
        pixels = np.zeros((16, 16), np.uint8)
        tifffile.imwrite(folder / "a.tif", pixels, description=text, metadata=None)
        return folder / "a.tif"

    return build


def list_tiffs() -> Iterator[Hostile]:
    """List TIFFs whose tags, pages or metadata are no truth."""
    yield from _list_tags()
    yield from _list_loops()
    yield from _list_promises()


def _list_tags() -> Iterator[Hostile]:
    """A tag that is absurd or missing."""
    for tag in (256, 257):
        refusal = "corrupt|pixels"
        yield Hostile(f"tag {tag} = 0", write("a.tif", make_tiff({tag: 0})), read_planes, refusal)
    refusal = "corrupt|no pixels|can be decoded|too large|not an image|within bounds"
    values = {
        "bits": (258, (0, 1, 3, 7, 17, 64, 128, 65_535)),
        "compression": (259, (0, 2, 3, 4, 5, 6, 7, 8, 32773, 34712, 34892, 50000, 50001, 65_535)),
        "colours": (262, (0, 2, 3, 4, 5, 6, 8, 32803, 65_535)),
        "offset": (273, (0, 1, 4, 2**31, 2**32 - 1)),
        "orientation": (274, (0, 2, 6, 9, 65_535)),
        "samples": (277, (0, 2, 5, 255, 65_535)),
        "rows of a strip": (278, (0, 1, 2**31, 2**32 - 1)),
        "bytes of a strip": (279, (0, 1, 2**31, 2**32 - 1)),
        "planes apart": (284, (0, 2, 3)),
        "predictor": (317, (0, 2, 3, 65_535)),
        "tile's width": (322, (0, 1, 16, 2**20, 2**31)),
        "kind of samples": (339, (0, 2, 3, 4, 5, 6, 65_535)),
        "further images": (330, (8, 2**32 - 1)),
    }
    for what, (tag, numbers) in values.items():
        for number in numbers:
            content = make_tiff({tag: number})
            yield Hostile(f"{what} {number}", write("a.tif", content), read_planes, refusal)
    for tag in (256, 257, 262, 273, 279):
        tags = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 16, 279: 256}
        del tags[tag]
        content = b"II*\0" + struct.pack("<I", 264) + bytes(256) + struct.pack("<H", len(tags))
        content += b"".join(struct.pack("<HHII", key, 4, 1, tags[key]) for key in sorted(tags))
        yield Hostile(f"no tag {tag}", write("a.tif", content + bytes(4)), read_planes, refusal)
    for count in (0, 2, 2**31, 2**32 - 1):
        content = bytearray(make_tiff({}))
        struct.pack_into("<I", content, 264 + 2 + 4, count)
        name = f"{count} widths"
        yield Hostile(name, write("a.tif", bytes(content)), read_planes, refusal)
    for kind in (0, 2, 3, 12, 13, 16, 65_535):
        content = bytearray(make_tiff({}))
        struct.pack_into("<H", content, 264 + 2 + 2, kind)
        name = f"a width of type {kind}"
        yield Hostile(name, write("a.tif", bytes(content)), read_planes, refusal)


def _list_loops() -> Iterator[Hostile]:
    """Pages without end."""
    for length in (1, 2, 3, 10, 99, 100, 101, 1000, 20_000):
        for following in sorted({0, length // 2, length - 1}):
            content = make_tiff({}, length, following)
            name = f"{length} pages that lead back to {following}"
            yield Hostile(name, write("a.tif", content), read_planes, "lead back")
    for at in (0, 1, 7, 9, 2**31, 2**32 - 1):
        content = b"II*\0" + struct.pack("<I", at) + bytes(300)
        name = f"a first page at {at}"
        yield Hostile(name, write("a.tif", content), read_planes, "corrupt|not an image|no pixels")


def _list_promises() -> Iterator[Hostile]:
    """Metadata that promise more than the file holds."""
    for axis, size in product("CZT", (10**9, 10**12, 2**31, 10**400)):
        sizes = " ".join(f'Size{a}="{size if a == axis else 1}"' for a in "CZT")
        ome = (
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
            '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="16" SizeY="16" '
            f"{sizes}>"
            "<TiffData/></Pixels></Image></OME>"
        )
        shown = size if size < 10**20 else "of 400 digits"
        refusal = "promise|cut off|within bounds"
        yield Hostile(f"ome {axis} {shown}", describe(ome), read_planes, refusal)
    for planes in (10**7, 10**9, 10**12):
        for text in (f'{{"shape": [{planes}, 16, 16]}}', f"ImageJ=1.11a\nimages={planes}\n"):
            yield Hostile(f"tiff of {text[:12]} {planes}", describe(text), read_planes, "promise")
    odd = {
        "shape of text": '{"shape": "many"}',
        "shape below zero": '{"shape": [-1, 16, 16]}',
        "shape of zero": '{"shape": [0, 16, 16]}',
        "shape of lists": '{"shape": [[16], [16]]}',
        "shape of NaN": '{"shape": [NaN, 16, 16]}',
        "shape of 400 digits": f'{{"shape": [{10**400}, 16, 16]}}',
        "shape that is cut off": '{"shape": [16, 16',
        "shape within shapes": '{"shape": ' + "[" * 50_000,
        "imagej of text": "ImageJ=1.11a\nimages=many\n",
        "imagej below zero": "ImageJ=1.11a\nimages=-5\nslices=-5\n",
        "imagej of 400 digits": f"ImageJ=1.11a\nimages={10**400}\n",
        "imagej hyperstack": "ImageJ=1.11a\nimages=1\nchannels=100\nslices=100\nframes=100\n"
        "hyperstack=true\n",
        "scanimage": "scanimage.SI4.fastZEnable = 1\n",
        "svs": "Aperio Image Library v10\r\n100000x100000 [0,0 100000x100000]",
        "metamorph": "<MetaData><prop id='x' type='int' value='9'/></MetaData>",
        "nul bytes": "a\0" * 1000,
    }
    refusal = "promise|corrupt|within bounds|that is none|cut off"
    for what, text in odd.items():
        yield Hostile(f"description: {what}", describe(text), read_planes, refusal)
