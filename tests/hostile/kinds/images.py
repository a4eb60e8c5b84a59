"""Images of every format that is decoded: stated sizes, damaged parts, bombs, and no images."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pyvips  # type: ignore[import-untyped]

from ml_backend.imaging.decode import decode
from tests.hostile.hostile import Hostile, make_tiff, tabulate_files, write

TOO_LARGE = r"can be decoded|cut off or corrupt|no such|not an image|no pixels|cannot"
BROKEN = r"cut off or corrupt|not an image that can be read|the file is empty"
SIDES = [(100_000, 100_000), (65_535, 65_535), (2**31 - 1, 1), (1, 2**31 - 1), (40_000, 40_000)]


def make_chunk(name: bytes, data: bytes) -> bytes:
    """Make a chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def make_png(width: int, height: int, depth: int, kind: int, data: bytes | None = None) -> bytes:
    """Make a PNG whose header states a size, with hardly any pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    packed = zlib.compress(bytes(1000)) if data is None else data
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        make_chunk(name, content)
        for name, content in ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    )


@cache
def make_whole() -> dict[str, bytes]:
    """Make a sound image of every format, noise of 48 × 32 px."""
    noise = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    image = pyvips.Image.new_from_memory(noise.data, 48, 32, 3, "uchar")
    image = image.copy(interpretation="srgb")
    whole = {
        ending: image.write_to_buffer(f".{ending}") for ending in ("png", "jpg", "webp", "tif")
    }
    whole["gif"] = _write_with_pillow(noise, "GIF")
    whole["bmp"] = _write_with_pillow(noise, "BMP")
    whole["avif"] = _write_with_pillow(noise, "AVIF")
    return whole


def _write_with_pillow(pixels: np.ndarray, name: str) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, name)
    return file.getvalue()


def decode_or_measure(path: Path) -> str:
    """Decode, and tell the size: a damaged file may be shown, and then within its bounds."""
    height, width, _ = decode(path).shape
    return f"decoded within bounds: {width} x {height}" if width * height < 10_000 else "LARGE"


def list_images() -> Iterator[Hostile]:
    """List the images of every format."""
    yield from _list_stated_sizes()
    yield from _list_bombs()
    yield from _list_cut()
    yield from _list_damaged()
    yield from _list_chunks()
    yield from _list_no_images()


def _list_stated_sizes() -> Iterator[Hostile]:
    """Small files that state a large image."""
    for (width, height), (depth, kind) in product(SIDES, [(1, 0), (8, 2), (16, 6), (8, 3)]):
        content = make_png(width, height, depth, kind)
        name = f"png {width}x{height} {depth} bits {kind}"
        yield Hostile(name, write("a.png", content), decode, TOO_LARGE)
    for (width, height), samples, bits in product(SIDES, (1, 3), (8, 16, 32)):
        changes = {256: width, 257: height, 258: bits, 277: samples}
        name = f"tiff {width}x{height} {samples}x{bits}"
        yield Hostile(name, write("a.tif", make_tiff(changes)), decode, TOO_LARGE)
    for width, height in (*SIDES, (-1, -1), (0, 0), (1, -(2**31))):
        content = b"BM" + struct.pack(
            "<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, *[0] * 6
        )
        name = f"bmp {width}x{height}"
        yield Hostile(name, write("a.bmp", content), decode, TOO_LARGE)
    for width, height in [(65_535, 65_535), (0, 0), (65_535, 1)]:
        content = b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + b";"
        yield Hostile(f"gif {width}x{height}", write("a.gif", content), decode, TOO_LARGE)
    jpeg = make_whole()["jpg"]
    at = jpeg.index(b"\xff\xc0") + 5
    for width, height in ((65_535, 65_535), (65_500, 65_500), (0, 32), (48, 0), (65_535, 1)):
        content = jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]
        yield Hostile(f"jpeg {width}x{height}", write("a.jpg", content), decode, TOO_LARGE)
    for width, height in ((16_384, 16_384), (2**24, 2**24), (1, 2**24)):
        state = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
        chunk = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + state
        content = b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk
        yield Hostile(f"webp {width}x{height}", write("a.webp", content), decode, TOO_LARGE)


def _list_bombs() -> Iterator[Hostile]:
    """Files that are what they state, unpack a thousandfold, and are beyond the bound."""
    for width, height, depth, kind in (
        (20_000, 20_000, 1, 0),
        (17_000, 16_500, 8, 0),
        (50_000, 9_000, 8, 3),
        (15_000, 12_000, 16, 4),
    ):
        content = make_png(width, height, depth, kind, zlib.compress(bytes(10_000_000), 1))
        name = f"png bomb {width}x{height} of {depth} bits, kind {kind}"
        yield Hostile(name, write("a.png", content), decode, "can be decoded|cut off")
    for tag, what in ((5, "LZW"), (8, "deflate"), (32773, "PackBits"), (7, "JPEG")):
        changes = {256: 30_000, 257: 30_000, 259: tag, 278: 30_000}
        yield Hostile(
            f"tiff bomb {what}",
            write("a.tif", make_tiff(changes)),
            decode,
            "can be decoded|corrupt",
        )
    for chunk in (b"zTXt", b"iTXt", b"iCCP", b"tEXt"):
        packed = zlib.compress(bytes(200_000_000), 1)
        data = {
            b"zTXt": b"a\0\0" + packed,
            b"iTXt": b"a\0\1\0\0\0" + packed,
            b"iCCP": b"a\0\0" + packed,
            b"tEXt": b"a\0" + bytes(9_000_000),
        }[chunk]
        whole = make_whole()["png"]
        content = whole[:33] + make_chunk(chunk, data) + whole[33:]
        refusal = "decoded within bounds|cut off"
        name = f"png {chunk.decode()} of 200 MB"
        yield Hostile(name, write("a.png", content), decode_or_measure, refusal)


def _list_cut() -> Iterator[Hostile]:
    """Files that end early."""
    for ending, content in make_whole().items():
        for share in (0.0, 0.01, 0.1, 0.3, 0.5, 0.9):
            cut = content[: int(share * len(content))]
            refusal = BROKEN
            yield Hostile(f"{ending} cut {share}", write(f"a.{ending}", cut), decode, refusal)


def _list_damaged() -> Iterator[Hostile]:
    """Files with one part overwritten; browsers show some of them too, within their size."""
    refusal = f"decoded within bounds|{BROKEN}|can be decoded|too large"
    for ending, content in make_whole().items():
        for place, damage in product((12, 20, 40, 0.5), (b"\xff" * 4, b"\0" * 8)):
            at = int(place * len(content)) if isinstance(place, float) else place
            changed = content[:at] + damage + content[at + len(damage) :]
            yield Hostile(
                f"{ending} with {damage[:1].hex()} x {len(damage)} at {place}",
                write(f"a.{ending}", changed),
                decode_or_measure,
                refusal,
            )


def _list_chunks() -> Iterator[Hostile]:
    """PNGs and JPEGs whose parts are missing, doubled, too long, or in another order."""
    png = make_whole()["png"]
    start, header = png[:8], png[8:33]
    data = png[33:-12]
    end = png[-12:]
    files = {
        "no header": start + data + end,
        "no data": start + header + end,
        "header of no bytes": start + make_chunk(b"IHDR", b"") + data + end,
        "header of 1 MB": start + make_chunk(b"IHDR", bytes(1_000_000)) + data + end,
        "data before the header": start + data + header + end,
        "two headers": start + header + make_chunk(b"IHDR", header[8:21])[:-1] + b"x" + data + end,
        "a chunk of 4 GB": start + header + b"\xff\xff\xff\xffIDAT" + data + end,
        "a palette that is missing": make_png(8, 8, 8, 3, zlib.compress(bytes(72))),
        "a depth of 3 bits": make_png(8, 8, 3, 0),
        "a kind of 5": make_png(8, 8, 8, 5),
        "a filter of 9": make_png(8, 8, 8, 0, zlib.compress(b"\x09" * 72)),
        "data that is no zlib": make_png(8, 8, 8, 0, b"nothing of zlib"),
        "data of no bytes": make_png(8, 8, 8, 0, b""),
        "half a signature": png[:4] + png[12:],
        "10,000 empty texts": start + header + make_chunk(b"tEXt", b"") * 10_000 + end,
    }
    many = start + header + make_chunk(b"tEXt", b"") * 300_000 + data + end
    yield Hostile("png with 300,000 empty texts", write("a.png", many), decode, "100000 parts")
    yield from tabulate_files(files, decode, BROKEN, "a.png", "png with")
    jpeg = make_whole()["jpg"]
    tables = {name: jpeg.index(name) for name in (b"\xff\xdb", b"\xff\xc4", b"\xff\xda")}
    cut = {
        name: jpeg[:at] + jpeg[at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big") :]
        for name, at in tables.items()
    }
    broken = {
        "no scan": jpeg[: tables[b"\xff\xda"]] + b"\xff\xd9",
        "no scan's header": cut[b"\xff\xda"],
        "two beginnings and nothing": b"\xff\xd8\xff\xd8\xff",
        "only fill bytes": b"\xff\xd8" + b"\xff" * 100_000,
        "a comment of 64 kB alone": b"\xff\xd8\xff\xfe\xff\xff" + bytes(65_533),
    }
    yield from tabulate_files(broken, decode, BROKEN, "a.jpg", "jpeg with")


def _list_no_images() -> Iterator[Hostile]:
    """What is called an image and is something else that a decoder might take."""
    gzip = bytes.fromhex("1f8b08000000000000ff") + bytes(50)
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"'
    files = {
        "svg": svg + b' width="9" height="9"/>',
        "svg that names a file": svg + b'><image href="file:///etc/passwd"/></svg>',
        "svg of 10^9 px": svg + b' width="1000000000" height="1000000000"/>',
        "svg of entities": b'<!DOCTYPE svg [<!ENTITY a "a">]>' + svg + b">&a;</svg>",
        "svg after a signature": b"\xef\xbb\xbf" + svg + b"/>",
        "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj<</Type/Catalog>>endobj",
        "postscript": b"%!PS-Adobe-3.0\n(r) file",
        "eps with a preview": b"\xc5\xd0\xd3\xc6" + bytes(200),
        "html": b"<html><script>alert(1)</script></html>",
        "magick text": b"push graphic-context\nimage over 0,0 0,0 'https://x/'",
        "magick label": b"label:@/etc/passwd",
        "pnm": b"P6 100000 100000 255\n",
        "pfm": b"PF\n100000 100000\n-1.0\n",
        "vips": b"\xb6\xa6\xf2\x08" + bytes(60),
        "radiance": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 100000 +X 100000\n",
        "openexr": b"\x76\x2f\x31\x01" + bytes(300),
        "fits": b"SIMPLE  =                    T" + b" " * 2850,
        "matlab": b"MATLAB 5.0 MAT-file" + bytes(110),
        "nifti": struct.pack("<i", 348) + bytes(344),
        "analyze": struct.pack(">i", 348) + bytes(344),
        "openslide ini": b"[GENERAL]\nObjective-lens-magnification=40\n",
        "csv": b"1,2,3\n4,5,6\n",
        "jpeg 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60),
        "jpeg xl": b"\xff\x0a" + bytes(60),
        "jpeg xl box": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(60),
        "heic": b"\0\0\0\x18ftypheic" + bytes(60),
        "mp4": b"\0\0\0\x18ftypisom" + bytes(60),
        "ico": b"\0\0\x01\0\x01\0" + bytes(60),
        "psd": b"8BPS\0\x01" + bytes(60),
        "gzip": gzip,
        "zip": b"PK\x03\x04" + bytes(60),
        "zstd": b"\x28\xb5\x2f\xfd" + bytes(60),
        "elf": b"\x7fELF" + bytes(60),
        "script": b"#!/bin/sh\nid > /tmp/x\n",
        "pickle": b"\x80\x04cos\nsystem\n(S'id'\ntR.",
        "zeros": bytes(10_000),
        "one byte": b"\x89",
        "text": b"this is no image",
        "riff of sound": b"RIFF\0\0\0\0WAVE" + bytes(40),
        "big riff": b"RIFF\xff\xff\xff\xffWEBP",
        "avif without content": b"\0\0\0\x18ftypavif\0\0\0\0avifmif1",
        "avif of boxes in boxes": b"\0\0\0\x18ftypavif\0\0\0\0avifmif1"
        + b"\xff\xff\xff\xffmeta\0\0\0\0" * 500,
        "gif without frames": b"GIF89a\1\0\1\0\0\0\0;",
        "gif of 10,000 empty comments": b"GIF89a\1\0\1\0\0\0\0" + b"!\xfe\0" * 10_000 + b";",
        "bmp of no bits": b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 4, 4, 1, *[0] * 7),
        "bmp of a long header": b"BM" + struct.pack("<IHHII", 54, 0, 0, 54, 2**31) + bytes(40),
        "bmp of run lengths": b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 9_000, 9_000, 1, 8, 1, *[0] * 5),
        "tiff signature alone": b"II*\0",
        "bigtiff signature alone": b"II+\0\x08\0\0\0",
        "bigtiff of 2^63 tags": b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0" + b"\xff" * 8,
    }
    yield from tabulate_files(files, decode, BROKEN, "a.png", "no image:")
