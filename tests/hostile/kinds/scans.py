"""OME-Zarr, CZI, LIF and ND2: shapes, chunks and metadata that are no truth, and no such files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.hostile.hostile import Hostile, write
from tests.hostile.kinds.tiffs import read_planes

ARRAY = {
    **{"zarr_format": 2, "shape": [16, 16], "chunks": [16, 16], "dtype": "|u1", "order": "C"},
    **{"fill_value": 0, "filters": None, "compressor": None, "dimension_separator": "/"},
}
AXES = [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]


def list_scans() -> Iterator[Hostile]:
    """List the scans that are no TIFFs."""
    yield from _list_shapes()
    yield from _list_arrays()
    yield from _list_descriptions()
    yield from _list_chunks()
    yield from _list_vendor_files()


def make_zarr(
    array: Mapping[str, Any] | bytes, attributes: Any = None, chunk: bytes | None = None
) -> Callable[[Path], Path]:
    """Make what writes an OME-Zarr of one array, by hand."""
    ours = {"multiscales": [{"axes": AXES, "datasets": [{"path": "0"}]}]}

    def build(folder: Path) -> Path:
        root = folder / "a.zarr"
        (root / "0").mkdir(parents=True)
        (root / ".zgroup").write_text('{"zarr_format": 2}')
        described = ours if attributes is None else attributes
        text = described if isinstance(described, bytes) else json.dumps(described).encode()
        (root / ".zattrs").write_bytes(text)
        content = array if isinstance(array, bytes) else json.dumps({**ARRAY, **array}).encode()
        (root / "0" / ".zarray").write_bytes(content)
        if chunk is not None:
            (root / "0" / "0").mkdir()
            (root / "0" / "0" / "0").write_bytes(chunk)
        return root

    return build


def _list_shapes() -> Iterator[Hostile]:
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


REFUSED = (
    r"incomplete or corrupt|no image of OME-Zarr|no pixels|too large|promises|its axes are|"
    r"cannot be decoded|corrupt|within bounds"
)


def _list_arrays() -> Iterator[Hostile]:
    """Descriptions of an array that are wrong."""
    arrays: dict[str, Mapping[str, Any] | bytes] = {
        "no text": b"\xff\xfe\x00",
        "nothing": b"",
        "a list": b"[]",
        "a number": b"1e999",
        "cut off": b'{"zarr_format": 2, "shape": [16',
        "deep": b"[" * 100_000,
        "a format of 99": {"zarr_format": 99},
        "a shape of text": {"shape": "large"},
        "a shape below zero": {"shape": [-16, 16]},
        "a shape of fractions": {"shape": [1.5, 16]},
        "a shape of 400 digits": {"shape": [10**400, 16]},
        "one axis": {"shape": [16], "chunks": [16]},
        "no axis": {"shape": [], "chunks": []},
        "2,000 axes": {"shape": [1] * 2000, "chunks": [1] * 2000},
        "chunks of zero": {"chunks": [0, 0]},
        "chunks below zero": {"chunks": [-1, 16]},
        "chunks of another dimension": {"chunks": [16]},
        "no chunks": {"chunks": None},
        "objects": {"dtype": "|O"},
        "objects by pickle": {"dtype": "|O", "filters": [{"id": "pickle"}]},
        "text of 1 GB": {"dtype": "<U250000000"},
        "records": {"dtype": [["a", "|u1"], ["b", "|O"]]},
        "no type": {"dtype": "nothing"},
        "a type that is code": {"dtype": "__import__('os')"},
        "an unknown codec": {"compressor": {"id": "evil"}},
        "a codec by a path": {"compressor": {"id": "../../codec"}},
        "a codec without a name": {"compressor": {}},
        "10^7 x 10^7": {"shape": [10**7, 10**7], "chunks": [1000, 1000]},
        "a line of 10^9": {"shape": [1, 10**9], "chunks": [1, 1000]},
        "a thousand filters": {"filters": [{"id": "delta", "dtype": "|u1"}] * 1000},
    }
    for what, array in arrays.items():
        build = make_zarr(array, chunk=bytes(256))
        yield Hostile(f"zarr array: {what}", build, read_planes, REFUSED)


def _list_descriptions() -> Iterator[Hostile]:
    """Attributes that describe no image."""
    datasets = [{"path": "0"}]
    attributes: dict[str, Any] = {
        "no text": b"\xff\xfe\x00",
        "nothing": b"",
        "a list": [],
        "deep": b'{"multiscales": ' + b"[" * 100_000,
        "no images": {"multiscales": []},
        "images of text": {"multiscales": "all"},
        "no resolutions": {"multiscales": [{"axes": AXES, "datasets": []}]},
        "a resolution that is not there": {
            "multiscales": [{"axes": AXES, "datasets": [{"path": "9"}]}]
        },
        "a resolution outside": {
            "multiscales": [{"axes": AXES, "datasets": [{"path": "../../b.zarr/0"}]}]
        },
        "a resolution of the system": {
            "multiscales": [{"axes": AXES, "datasets": [{"path": "/etc/passwd"}]}]
        },
        "a resolution of no name": {"multiscales": [{"axes": AXES, "datasets": [{"path": ""}]}]},
        "a resolution of a number": {"multiscales": [{"axes": AXES, "datasets": [{"path": 0}]}]},
        "no axes": {"multiscales": [{"datasets": datasets}]},
        "axes of numbers": {"multiscales": [{"axes": [1, 2], "datasets": datasets}]},
        "three axes of two": {
            "multiscales": [{"axes": [{"name": "z"}, *AXES], "datasets": datasets}]
        },
        "axes turned": {"multiscales": [{"axes": AXES[::-1], "datasets": datasets}]},
        "an axis of time last": {
            "multiscales": [{"axes": [{"name": "y"}, {"name": "t"}], "datasets": datasets}]
        },
        "a series that is not there": {"bioformats2raw.layout": 3},
        "a layout of text": {"bioformats2raw.layout": "x", "OME": {}},
    }
    for what, described in attributes.items():
        build = make_zarr({}, described, bytes(256))
        yield Hostile(f"zarr description: {what}", build, read_planes, REFUSED)
    for what, name in {
        "no group": ".zgroup",
        "no description": ".zattrs",
        "no array": "0/.zarray",
    }.items():

        def build_without(folder: Path, name: str = name) -> Path:
            root = make_zarr({})(folder)
            (root / name).unlink()
            return root

        yield Hostile(f"zarr with {what}", build_without, read_planes, REFUSED)

    def build_pipe(folder: Path) -> Path:
        root = make_zarr({})(folder)
        (root / "0" / "0").mkdir()
        os.mkfifo(root / "0" / "0" / "0")
        return root

    yield Hostile("zarr whose chunk is a pipe", build_pipe, read_planes, "is no file|cannot be")


def _list_chunks() -> Iterator[Hostile]:
    """Chunks that are not what the array says."""
    blosc = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1}
    codecs = {
        "zlib": {"id": "zlib", "level": 1},
        "gzip": {"id": "gzip", "level": 1},
        "zstd": {"id": "zstd", "level": 1},
        "lz4": {"id": "lz4", "acceleration": 1},
        "blosc": blosc,
    }
    chunks = {
        "no bytes": b"",
        "text": b"this is no chunk",
        "ones": b"\xff" * 64,
        "a stated 2 GB": b"\xff\xff\xff\x7f" + bytes(60),
    }
    refusal = r"cannot be decoded|corrupt|cannot be read|not what|lost|too large"
    for (name, codec), (what, chunk) in (
        (codec, chunk) for codec in codecs.items() for chunk in chunks.items()
    ):
        build = make_zarr({"compressor": codec}, chunk=chunk)
        yield Hostile(f"zarr chunk: {what} by {name}", build, read_planes, refusal)
    for what, chunk in {"too short": bytes(255), "too long": bytes(100_000)}.items():
        build = make_zarr({}, chunk=chunk)
        yield Hostile(f"zarr chunk: {what}", build, read_planes, refusal)


def _list_vendor_files() -> Iterator[Hostile]:
    """What is called a file of a microscope's vendor and is none."""
    zisraw = b"ZISRAWFILE" + bytes(6) + (512).to_bytes(8, "little") * 2
    contents = {
        "empty": b"",
        "text": b"this is no microscope's file",
        "zeros": bytes(4096),
        "ones": b"\xff" * 4096,
        "a tiff": b"II*\0" + bytes(100),
        "a zip": b"PK\x03\x04" + bytes(100),
        "xml": b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY a 'b'>]><a>&a;</a>",
        "a header of czi alone": zisraw,
        "a header of czi and zeros": zisraw + bytes(4096),
        "a header of lif that is endless": b"\x70\0\0\0\xff\xff\xff\x7f*\xff\xff\xff\x7f",
        "a header of lif with entities": b"\x70\0\0\0\x30\0\0\0*\x10\0\0\0"
        + "<!DOCTYPE a [<!E".encode("utf-16-le")
        + bytes(64),
        "a header of nd2 that leads away": b"\xda\xce\xbe\x0a" + b"\xff" * 60,
        "jpeg 2000 of nd2": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(200),
    }
    for ending in ("czi", "lif", "nd2"):
        for what, content in contents.items():
            yield Hostile(
                f"{ending}: {what}",
                write(f"a.{ending}", content),
                read_planes,
                r"cannot be read|corrupt|no .*file|not a|damaged|no image|crash",
            )
