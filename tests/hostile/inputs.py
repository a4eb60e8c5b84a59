"""The table of hostile inputs, by kind: what builds each, how it is read, what is then said.

A new input is a line here, or a function that yields many. `read` gets the built path and returns
or raises; what it returns or raises, as text, must match `refusal`.
"""

from __future__ import annotations

import os
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from ml_backend.dataset.folder import read_folder
from ml_backend.imaging.decode import decode, encode_png
from ml_backend.imaging.pixel_size import parse_ome_pixel_size, read_task_pixel_size
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.system.csv_cells import FORMULA, read_cell, write_cell
from ml_backend.system.markup import parse_xml, parse_yaml
from tasks.exchange.annotation_files import find_annotation_files
from tasks.exchange.detection_files import read_detections
from tasks.exchange.image_names import flatten
from tasks.readers.open import open_scan
from tasks.sources.discover import list_image_files


@dataclass(frozen=True)
class Hostile:
    """An input.

    Attributes:
        name: Its kind and what distinguishes it.
        build: Writes it into an empty folder; returns what `read` gets.
        read: What the product does with such an input.
        refusal: A pattern of what is said, with `re.search`.
    """

    name: str
    build: Callable[[Path], Any]
    read: Callable[[Any], Any]
    refusal: str


def write(name: str, content: bytes) -> Callable[[Path], Path]:
    """Make what writes a file."""

    def build(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return build


def read_planes(path: Path) -> str:
    """Open a file as a scan, and read a little of every plane."""
    planes = open_scan(path)
    for plane in planes[:3]:
        next(iter(plane.read_windows(64, 8)), None)
    return "; ".join(str(plane.failure or getattr(plane.plane, "reason", "")) for plane in planes)


TOO_LARGE = r"can be decoded|cut off or corrupt|no such|not an image|no pixels|cannot"


def make_png(width: int, height: int, depth: int, kind: int) -> bytes:
    """A PNG whose header states a size, with hardly any pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def make_tiff(changes: dict[int, int], pages: int = 1, following: int | None = None) -> bytes:
    """A TIFF of 16 × 16 grey px, with some tags changed; the last page may name another."""
    tags = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 16, 279: 256} | changes
    first = 8 + 256
    length = 2 + 12 * len(tags) + 4
    content = bytearray(b"II*\0" + struct.pack("<I", first) + bytes(256))
    for page in range(pages):
        content += struct.pack("<H", len(tags))
        for tag, value in sorted(tags.items()):
            content += struct.pack("<HHII", tag, 4, 1, value)
        last = page == pages - 1
        named = first + length * (page + 1)
        content += struct.pack("<I", 0 if last and following is None else named)
        if last and following is not None:
            content[-4:] = struct.pack("<I", first + length * following)
    return bytes(content)


def list_stated_sizes() -> Iterator[Hostile]:
    """Small files that state a large image."""
    sides = [(100_000, 100_000), (65_535, 65_535), (2**31 - 1, 1), (1, 2**31 - 1), (40_000, 40_000)]
    for (width, height), (depth, kind) in product(sides, [(1, 0), (8, 2), (16, 6), (8, 3)]):
        content = make_png(width, height, depth, kind)
        name = f"png {width}x{height} {depth} bits {kind}"
        yield Hostile(name, write("a.png", content), decode, TOO_LARGE)
    for (width, height), samples, bits in product(sides, (1, 3), (8, 16, 32)):
        changes = {256: width, 257: height, 258: bits, 277: samples}
        name = f"tiff {width}x{height} {samples}x{bits}"
        yield Hostile(name, write("a.tif", make_tiff(changes)), decode, TOO_LARGE)
    for width, height in (*sides, (-1, -1), (0, 0), (1, -(2**31))):
        content = b"BM" + struct.pack(
            "<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, *[0] * 6
        )
        name = f"bmp {width}x{height}"
        yield Hostile(name, write("a.bmp", content), decode, TOO_LARGE)
    for width, height in [(65_535, 65_535), (0, 0), (65_535, 1)]:
        content = b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + b";"
        yield Hostile(f"gif {width}x{height}", write("a.gif", content), decode, TOO_LARGE)


def list_cut_files() -> Iterator[Hostile]:
    """Files that end early."""
    whole = {"png": encode_png(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))}
    whole["tif"] = make_tiff({})
    for ending, content in whole.items():
        for share in (0.0, 0.01, 0.1, 0.3, 0.5):
            cut = content[: int(share * len(content))]
            refusal = r"empty|not an image|cut off or corrupt"
            yield Hostile(f"{ending} cut {share}", write(f"a.{ending}", cut), decode, refusal)


def list_lying_tiffs() -> Iterator[Hostile]:
    """TIFFs whose tags or metadata are no truth."""
    for tag, value in product((256, 257), (0,)):
        content = make_tiff({tag: value})
        yield Hostile(
            f"tag {tag} = {value}", write("a.tif", content), read_planes, "corrupt|pixels"
        )
    for length in (1, 2, 3, 10, 99, 100, 101, 1000, 20_000):
        for following in {0, length // 2, length - 1}:
            content = make_tiff({}, length, following)
            name = f"{length} pages that lead back to {following}"
            yield Hostile(name, write("a.tif", content), read_planes, "lead back")
    for axis, size in product("CZT", (10**9, 10**12, 2**31)):
        sizes = " ".join(f'Size{a}="{size if a == axis else 1}"' for a in "CZT")
        ome = (
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
            '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="16" SizeY="16" '
            f"{sizes}>"
            "<TiffData/></Pixels></Image></OME>"
        )
        yield Hostile(f"ome {axis} {size}", describe(ome), read_planes, "promise|cut off")
    for planes in (10**7, 10**9, 10**12):
        for text in (f'{{"shape": [{planes}, 16, 16]}}', f"ImageJ=1.11a\nimages={planes}\n"):
            yield Hostile(f"tiff of {text[:12]} {planes}", describe(text), read_planes, "promise")


def describe(text: str) -> Callable[[Path], Path]:
    """Make what writes a small TIFF with a description."""

    def build(folder: Path) -> Path:
        pixels = np.zeros((16, 16), np.uint8)
        tifffile.imwrite(folder / "a.tif", pixels, description=text, metadata=None)
        return folder / "a.tif"

    return build


def list_zarrs() -> Iterator[Hostile]:
    """Folders of Zarr whose shape is no truth."""
    shapes: list[tuple[tuple[int, ...], tuple[int, ...], str]] = [
        ((0, 0), (1, 1), "no pixels"),
        ((0, 16), (1, 16), "no pixels"),
        ((0, 16, 16), (1, 16, 16), "no pixels"),
        ((10**8, 16, 16), (1, 16, 16), "promises"),
        ((10**12, 16, 16), (1, 16, 16), "promises"),
        ((10**5, 16, 16), (1, 16, 16), "promises"),
        ((10**6, 10**6), (10**6, 10**6), "chunks are too large"),
        ((16, 16), (10**9, 10**9), "chunks are too large"),
    ]
    for shape, chunks, refusal in shapes:

        def build(folder: Path, shape: Any = shape, chunks: Any = chunks) -> Path:
            import zarr

            group = zarr.open_group(folder / "a.zarr", mode="w", zarr_format=2)
            group.create_array("0", shape=shape, chunks=chunks, dtype="u1")
            axes = [{"name": name} for name in "tyx"[-len(shape) :]]
            group.attrs["multiscales"] = [{"axes": axes, "datasets": [{"path": "0"}]}]
            return folder / "a.zarr"

        yield Hostile(f"zarr {shape} in {chunks}", build, read_planes, refusal)


def list_no_files() -> Iterator[Hostile]:
    """What lies in a folder, is called an image, and must not be opened."""

    def bind(path: Path) -> None:
        here = os.getcwd()
        os.chdir(path.parent)  # the address of a socket is short
        try:
            socket.socket(socket.AF_UNIX).bind(path.name)
        finally:
            os.chdir(here)

    makers: dict[str, tuple[Callable[[Path], Any], str]] = {
        "pipe": (os.mkfifo, "a pipe is no file"),
        "socket": (bind, "a socket is no file"),
        "link to itself": (lambda path: path.symlink_to(path), "cannot be read"),
        "link to a device": (lambda path: path.symlink_to("/dev/zero"), "a device is no file"),
        "link to nothing": (lambda path: path.symlink_to("gone.png"), "no such file"),
    }
    for (kind, (make, refusal)), suffix in product(makers.items(), (".png", ".tif", ".bmp")):

        def build(folder: Path, make: Any = make, suffix: str = suffix) -> Path:
            make(folder / f"bad{suffix}")
            return folder / f"bad{suffix}"

        yield Hostile(f"{kind} {suffix}, decoded", build, decode, refusal)
        yield Hostile(f"{kind} {suffix}, opened", build, read_planes, refusal)
        yield Hostile(f"{kind} {suffix}, listed", build, list_beside, f"good.png.*{refusal}")
        yield Hostile(f"{kind} {suffix}, labelled", build, label_beside, f"good.png.*{refusal}")
    for suffix in (".json", ".csv"):

        def build_pipe(folder: Path, suffix: str = suffix) -> Path:
            os.mkfifo(folder / f"a{suffix}")
            return folder / f"a{suffix}"

        yield Hostile(f"pipe {suffix}", build_pipe, read_detections, "a pipe is no file")
    yield Hostile(
        "pipe of annotations",
        lambda folder: os.mkfifo(folder / "a.json") or folder,
        find_annotation_files,
        "no annotations there",
    )

    def build_bytes(folder: Path) -> Path:
        name = os.fsdecode(b"caf\xe9.png")
        (folder / name).write_bytes(encode_png(np.zeros((4, 4, 3), np.uint8)))
        return folder / name

    yield Hostile("name of bytes, listed", build_bytes, list_beside, "good.png.*no text")
    yield Hostile("name of bytes, labelled", build_bytes, label_beside, "good.png.*no text")


def list_beside(bad: Path) -> str:
    """List a folder in which a good image lies beside."""
    (bad.parent / "good.png").write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8)))
    paths, skipped = list_image_files(bad.parent)
    return f"{[path.name for path in paths]} {skipped}"


def label_beside(bad: Path) -> str:
    """Read a labelled folder in which a good image lies beside."""
    (bad.parent / "good.png").write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8)))
    found = read_folder(bad.parent)
    return f"{[example.image.name for example in found.examples]} {found.skipped}"


NUMBERS = (10**400, "1" * 400, "1e400", float("nan"), float("inf"), -1, 0, "", [], {}, True, "x")


def list_numbers() -> Iterator[Hostile]:
    """Numbers of tasks and annotations that are none."""
    labels = LabelingConfig.parse(
        '<View><Image name="i" value="$image"/><RectangleLabels name="l" toName="i">'
        '<Label value="a"/></RectangleLabels></View>'
    )
    shape = {"x": 1, "y": 1, "width": 5, "height": 5, "rotation": 0}

    def read_shape(value: dict[str, Any]) -> list[str]:
        item = {
            "type": "rectanglelabels",
            "from_name": "l",
            "value": {"rectanglelabels": ["a"], **value},
        }
        return labels.read_regions([item], 100, 100)[1] or ["read"]

    for number in NUMBERS:
        shown = str(number)[:8]
        yield Hostile(
            f"pixel_size {shown}",
            lambda _, number=number: {"pixel_size": number},
            read_task_pixel_size,
            "None",
        )
    for key, number in product(("x", "y", "width", "height"), NUMBERS):
        refusal = "no readable place|no area|beyond|read"
        yield Hostile(
            f"{key} {str(number)[:8]}",
            lambda _, key=key, number=number: shape | {key: number},
            read_shape,
            refusal,
        )


def list_texts() -> Iterator[Hostile]:
    """XML, YAML, labels, cells and names."""
    laughs = "<!DOCTYPE a [<!ENTITY a 'ha'>" + "".join(
        f"<!ENTITY {b} '{f'&{a};' * 10}'>" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    documents = {
        "laughs": (laughs + "]><a>&i;</a>", "document type"),
        "file": (
            "<!DOCTYPE a [<!ENTITY f SYSTEM 'file:///etc/passwd'>]><a>&f;</a>",
            "document type",
        ),
        "deep": ("<a>" * 200_000, "deep"),
        "broken": ("<a", "not valid XML"),
        "many": ("<a>" + "<b/>" * 1_100_000 + "</a>", "too many"),
    }
    for name, (text, refusal) in documents.items():
        yield Hostile(f"xml {name}", lambda _, text=text: text, parse_xml, refusal)
        yield Hostile(f"config {name}", lambda _, t=text: t, LabelingConfig.parse, "cannot be used")
        yield Hostile(f"ome {name}", lambda _, text=text: text, parse_ome_pixel_size, "None")
    aliases = "a: &a [x, x, x]\n" + "".join(
        f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n"
        for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    for name, text, refusal in (
        ("laughs", aliases, "aliases"),
        ("itself", "&a [*a]", "aliases"),
        ("deep", "[" * 100_000, "not valid YAML"),
        ("object", "!!python/object/apply:os.system [id]", "not valid YAML"),
        ("broken", "a: [", "not valid YAML"),
        ("long", "x" * 10_000_001, "can be read"),
    ):
        yield Hostile(f"yaml {name}", lambda _, text=text: text, parse_yaml, refusal)
    squares = "".join(f'<Label value="l{n}"/>' for n in range(1000))
    controls = "".join(
        f'<RectangleLabels name="r{n}" toName="i">{squares}</RectangleLabels>' for n in range(4)
    )
    pairs = "".join(f'<Rectangle name="q{n}" toName="i"/>' for n in range(1000))
    for name, inside in (
        ("1,000 labels four times", controls),
        ("1,000 x 1,000", f'{pairs}<Labels name="m" toName="i">{squares}</Labels>'),
        (
            "a long label",
            f'<Labels name="m" toName="i"><Label value="{"x" * 5000}"/></Labels>'
            '<Rectangle name="q" toName="i"/>',
        ),
        ("many tags", "<View/>" * 10_000),
        ("many characters", " " * 1_000_001),
    ):
        text = f'<View><Image name="i" value="$image"/>{inside}</View>'
        yield Hostile(
            f"config of {name}", lambda _, t=text: t, LabelingConfig.parse, "cannot be used"
        )
    for mark, rest in product(FORMULA, ("1+1", "cmd|' /C calc'!A0", "")):
        yield Hostile(
            f"cell {mark + rest!r}", lambda _, cell=mark + rest: cell, read_back, "^'.* read back$"
        )
    for name in (
        "x" * 5000,
        "a/" * 3000 + "b.png",
        "é" * 300 + ".png",
        "\ud800.png",
        "..",
        "\0" * 300,
    ):
        yield Hostile(f"name {name[:6]!r}", lambda _, name=name: name, make_name, "^made$")


def read_back(text: str) -> str:
    """A cell, and whether reading it gives the text again."""
    cell = write_cell(text).replace("\n", " ").replace("\r", " ")
    return f"{cell} {'read back' if read_cell(write_cell(text)) == text else 'LOST'}"


def make_name(name: str) -> str:
    """Whether a file of the name that is made of a source can be."""
    made = flatten(name)
    return "made" if made not in (".", "..") and 0 < len(os.fsencode(made)) <= 255 else made


def list_inputs() -> list[Hostile]:
    """All of them."""
    lists = (
        *(list_stated_sizes, list_cut_files, list_lying_tiffs, list_zarrs),
        *(list_no_files, list_numbers, list_texts),
    )
    return [hostile for make in lists for hostile in make()]
