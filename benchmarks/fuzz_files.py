"""Fuzzing of what reads files: real files, damaged at random, are read or refused in words.

    uv run python benchmarks/fuzz_files.py --minutes 10 --seed 1
    uv run python benchmarks/fuzz_files.py --kind ome-zarr --minutes 2
    uv run python benchmarks/fuzz_files.py --replay found/tiff-1-204

Each input is a whole file of a kind that some program really wrote, with bytes changed, cut out,
doubled, swapped with those of another file or replaced by numbers that break careless readers. A
child reads them, so that a crash or a hang is seen and the next input still has its turn. What
is found is kept in a folder; it then becomes a line of `tests/hostile/inputs.py`.

A finding is: an exception that the readers do not document, a crash, more than 30 s, more than
2 GB, or memory that stays.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parents[2] / "shared" / "data"
SECONDS = 30
BYTES = 2_000_000_000
NUMBERS = (0, 1, 2, 3, 7, 8, 16, 127, 128, 255, 256, 32767, 32768, 65535, 65536)
LARGE = (2**31 - 1, 2**31, 2**32 - 1, 2**32 - 2, 10**6, 10**9, 2**24)


def make_pixels(rng: np.random.Generator, *shape: int, dtype: str = "uint8") -> np.ndarray:
    """Make pixels with cells in them, so that codecs have something to code."""
    pixels = rng.normal(60, 8, shape)
    pixels[10:30, 12:40] += 120
    return np.clip(pixels, 0, 255).astype(dtype)


def make_tiffs(rng: np.random.Generator) -> list[bytes]:
    """Make TIFFs in the ways that microscopes and programs store them."""
    import tifffile

    grey = make_pixels(rng, 64, 80)
    layouts: list[tuple[np.ndarray, dict[str, Any]]] = [
        (grey, {}),
        (grey, {"compression": "zlib", "predictor": True}),
        (grey, {"compression": "lzw", "rowsperstrip": 8}),
        (grey, {"tile": (32, 32), "compression": "zlib"}),
        (grey.astype("uint16") * 200, {"compression": "lzw"}),
        (grey.astype("float32"), {"compression": "zlib", "predictor": True}),
        (grey.astype("float64"), {}),
        (np.stack([grey] * 3, -1), {"photometric": "rgb", "compression": "jpeg"}),
        (np.stack([grey] * 3, -1), {"photometric": "rgb", "tile": (16, 16)}),
        (np.stack([grey] * 4), {"ome": True, "metadata": {"axes": "ZYX"}}),
        (np.stack([grey] * 4).astype("uint16"), {"imagej": True, "metadata": {"axes": "ZYX"}}),
        (grey, {"bigtiff": True}),
        (grey, {"byteorder": ">"}),
        (grey, {"compression": "zstd"}),
        (grey > 90, {}),
    ]
    files = []
    for pixels, options in layouts:
        buffer = io.BytesIO()
        writer = {k: options.pop(k) for k in ("ome", "imagej", "bigtiff", "byteorder")
                  if k in options}  # fmt: skip
        with tifffile.TiffWriter(buffer, **writer) as file:
            file.write(pixels, **options)
        files.append(buffer.getvalue())
    return files


def make_images(rng: np.random.Generator) -> list[bytes]:
    """Make PNG, JPEG, WebP, GIF, AVIF and BMP of several depths, palettes and orientations."""
    import pyvips  # type: ignore[import-untyped]
    from PIL import Image

    colours = pyvips.Image.new_from_array(make_pixels(rng, 64, 80, 3)).copy(interpretation="srgb")
    deep = (colours.cast("ushort") * 257).copy(interpretation="rgb16")
    files = [
        colours.pngsave_buffer(),
        colours.pngsave_buffer(palette=True),
        colours.pngsave_buffer(interlace=True),
        deep.pngsave_buffer(),
        colours.bandjoin(200).pngsave_buffer(),
        colours.jpegsave_buffer(),
        colours.jpegsave_buffer(interlace=True, subsample_mode="off"),
        colours.colourspace("cmyk").jpegsave_buffer(),
        colours.webpsave_buffer(),
        colours.webpsave_buffer(lossless=True),
        colours.gifsave_buffer(),
    ]
    with contextlib.suppress(pyvips.Error):  # libvips may be built without an AV1 encoder
        files.append(colours.heifsave_buffer(compression="av1"))
    for mode in ("RGB", "L", "P", "1"):
        buffer = io.BytesIO()
        Image.fromarray(make_pixels(rng, 40, 52, 3)).convert(mode).save(buffer, "BMP")
        files.append(buffer.getvalue())
    return files


def make_czis(rng: np.random.Generator) -> list[bytes]:
    """Make CZIs by Zeiss' own library; none where the extra bioio is not installed."""
    try:
        from pylibCZIrw import czi
    except ImportError:
        return []
    files = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (pixels, planes) in enumerate(
            [(make_pixels(rng, 64, 80, 1), 1), (make_pixels(rng, 64, 80, 3), 1),
             (make_pixels(rng, 64, 80, 1, dtype="uint16"), 3)]
        ):  # fmt: skip
            path = Path(folder) / f"{number}.czi"
            with czi.create_czi(str(path)) as file:
                for depth in range(planes):
                    file.write(pixels, plane={"C": 0, "Z": depth, "T": 0})
            files.append(path.read_bytes())
    return files


def find_real(pattern: str, most: int = 6) -> list[bytes]:
    """Take some small real files, where the folder of real data is there."""
    paths = sorted(DATA.glob(pattern)) if DATA.is_dir() else []
    small = [path for path in paths if path.stat().st_size < 400_000]
    return [path.read_bytes() for path in small[:: max(1, len(small) // most)][:most]]


def make_labels(rng: np.random.Generator) -> list[bytes]:
    """Make annotation files in every format that is read."""
    coco = {
        "images": [{"id": 1, "file_name": "a.png", "width": 80, "height": 64}],
        "categories": [{"id": 1, "name": "mitosis"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 20]}],
    }
    createml = [
        {"image": "a.png", "annotations": [
            {"label": "mitosis", "coordinates": {"x": 9, "y": 9, "width": 4, "height": 5}}]}
    ]  # fmt: skip
    geojson = {
        "type": "FeatureCollection",
        "features": [{
            "type": "Feature", "properties": {"classification": {"name": "mitosis"}},
            "geometry": {"type": "Polygon",
                         "coordinates": [[[1, 1], [9, 1], [9, 9], [1, 9], [1, 1]]]},
        }],
    }  # fmt: skip
    voc = (
        "<annotation><filename>a.png</filename><size><width>80</width><height>64</height>"
        "</size><object><name>mitosis</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax>"
        "<ymax>20</ymax></bndbox></object></annotation>"
    )
    table = "image,label,x1,y1,x2,y2\na.png,mitosis,1,2,30,20\na.png,mitosis,5,6,9,12\n"
    return [
        *(json.dumps(content).encode() for content in (coco, createml, geojson)),
        voc.encode(),
        table.encode(),
        b"0 0.5 0.5 0.2 0.2\n0 0.3 0.3 0.1 0.1\n",
        b"path: .\ntrain: images\nval: images\nnames:\n  0: mitosis\n",
        b"image,sample,image_label\na.png,s1,Chromosomes\n",
    ]


def read_image(path: Path) -> None:
    """Decode a file as a task's image, and read it as a scan's."""
    from ml_backend.imaging.decode import UnreadableImage, decode, measure_decoded
    from tasks.readers.open import open_scan

    content = path.read_bytes() if path.is_file() else b""
    for read in (lambda: measure_decoded(content), lambda: decode(content)):
        with contextlib.suppress(UnreadableImage):
            read()
    try:
        for plane in open_scan(path)[:3]:
            for _, _ in zip(range(20), plane.read_windows(64, 8), strict=False):
                pass
    except UnreadableImage:
        pass


LABEL_NAMES = (
    *("annotations.json", "labels.json", "cells.geojson", "a.xml", "boxes.csv", "a.txt"),
    *("data.yaml", "image_labels.csv"),
)


def read_labels(path: Path) -> None:
    """Read a file as labels, under the name of each format, beside an image."""
    from ml_backend.dataset.folder import read_folder
    from ml_backend.imaging.decode import encode_png

    with tempfile.TemporaryDirectory() as folder:
        image = make_pixels(np.random.default_rng(0), 64, 80, 3)
        Path(folder, "a.png").write_bytes(encode_png(image))
        for name in LABEL_NAMES:
            shutil.copy(path, Path(folder, name))
            with contextlib.suppress(ValueError, OSError):
                read_folder(Path(folder))
            Path(folder, name).unlink()


def read_config(path: Path) -> None:
    """Read a labeling config and the regions of tasks in it."""
    from ml_backend.label_studio.labeling_config import LabelingConfig

    with contextlib.suppress(ValueError):
        LabelingConfig.parse(path.read_bytes().decode("utf-8", "surrogateescape"))


CONFIG = b"""<View><Image name="image" value="$image"/>
<RectangleLabels name="label" toName="image"><Label value="mitosis" background="#E69F00"/>
<Label value="Others"/></RectangleLabels><Choices name="c" toName="image" perRegion="true">
<Choice value="a"/><Choice value="b"/></Choices></View>"""

# Of each kind: the ending of its files, what makes whole ones, and what reads them.
KINDS: dict[
    str,
    tuple[str, Callable[[np.random.Generator], list[bytes]], Callable[[Path], None]],
] = {
    "tiff": (".tif", lambda rng: make_tiffs(rng) + find_real("mosaic/**/*.tif"), read_image),
    "image": (".png", lambda rng: make_images(rng) + find_real("*/**/*.jpg"), read_image),
    "czi": (".czi", make_czis, read_image),
    "ome-zarr": (".zarr", lambda rng: [], read_image),
    "labels": (".txt", make_labels, read_labels),
    "config": (".xml", lambda rng: [CONFIG], read_config),
}


def damage(content: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Change a file in one to six places, more often near its start, where headers are."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        if not data:
            break
        reach = len(data) if rng.random() < 0.5 else min(len(data), 512)
        place = rng.randrange(reach)
        kind = rng.randrange(8)
        length = rng.choice((1, 2, 4, 8, 16, 64))
        if kind == 0:
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[place : place + length] = rng.randbytes(length)
        elif kind in (2, 3):
            size = rng.choice((1, 2, 4, 8))
            value = rng.choice(NUMBERS + LARGE) & (256**size - 1)
            data[place : place + size] = value.to_bytes(size, rng.choice(("little", "big")))
        elif kind == 4:
            del data[place : place + length]
        elif kind == 5:
            data[place:place] = data[place : place + length] * rng.choice((1, 2, 30))
        elif kind == 6:
            del data[place + rng.randrange(len(data)) :]
        else:
            other = rng.choice(others)
            start = rng.randrange(len(other) or 1)
            data[place : place + length] = other[start : start + length]
    return bytes(data)


def write_zarr(path: Path, rng: random.Random) -> None:
    """Write an OME-Zarr and damage one of its files."""
    import zarr

    pixels = make_pixels(np.random.default_rng(rng.randrange(100)), 64, 80)
    version = rng.choice((2, 3))
    group = zarr.open_group(str(path), mode="w", zarr_format=version)
    shape = rng.choice(((64, 80), (2, 64, 80), (2, 3, 64, 80)))
    array = group.create_array("0", shape=shape, chunks=(*(1,) * (len(shape) - 2), 32, 32),
                               dtype="uint16")  # fmt: skip
    array[...] = np.broadcast_to(pixels, shape)
    image = {
        "version": "0.4",
        "axes": [{"name": name, "type": "space"} for name in "czyx"[-len(shape) :]],
        "datasets": [{"path": "0", "coordinateTransformations": [
            {"type": "scale", "scale": [1.0] * len(shape)}]}],
    }  # fmt: skip
    group.attrs["multiscales" if version == 2 else "ome"] = (
        [image] if version == 2 else {"version": "0.5", "multiscales": [image]}
    )
    files = sorted(one for one in path.rglob("*") if one.is_file())
    described = [one for one in files if one.suffix == ".json" or one.name.startswith(".")]
    for _ in range(rng.choice((1, 1, 2))):
        chosen = rng.choice(described if rng.random() < 0.7 else files)
        chosen.write_bytes(damage(chosen.read_bytes(), [chosen.read_bytes()], rng))


def build(kind: str, seed: int, folder: Path) -> Path:
    """Build an input of a kind by its number."""
    rng = random.Random(f"{kind}-{seed}")
    ending, make, _ = KINDS[kind]
    path = folder / f"{kind}-{seed}{ending}"
    if kind == "ome-zarr":
        write_zarr(path, rng)
        return path
    if kind not in _WHOLE:
        _WHOLE[kind] = make(np.random.default_rng(0))
    whole = _WHOLE[kind]
    path.write_bytes(damage(rng.choice(whole), whole, rng))
    return path


_WHOLE: dict[str, list[bytes]] = {}


def serve_child() -> None:
    """Read inputs named by lines of the standard input; print a line for each."""
    resource.setrlimit(resource.RLIMIT_AS, (3 * BYTES, 3 * BYTES))
    for line in sys.stdin:
        kind, path = json.loads(line)
        started, failure = time.monotonic(), ""
        try:
            KINDS[kind][2](Path(path))
        except BaseException as error:
            failure = f"{type(error).__name__}: {error}"[:300]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        held = pages * resource.getpagesize()
        print("\n" + json.dumps(["read", failure, time.monotonic() - started, peak, held]),
              flush=True)  # fmt: skip


class Child:
    """A process that reads inputs, made anew when it is gone."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def read(self, kind: str, path: Path) -> tuple[str, float, int, int]:
        """Let it read an input: what went wrong ("" for nothing), seconds, peak and held bytes."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, __file__, "--child"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                text=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            )  # fmt: skip
        process = self._process
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps([kind, str(path)]) + "\n")
        process.stdin.flush()
        watchdog = threading.Timer(2 * SECONDS, process.kill)
        watchdog.start()
        try:
            for line in process.stdout:  # libraries print lines of their own
                if line.startswith('["read"'):
                    _, failure, seconds, peak, held = json.loads(line)
                    return failure, seconds, peak, held
        finally:
            watchdog.cancel()
        process.kill()
        code = process.wait()
        self._process = None
        return f"the child ended or hung (exit status {code})", 0.0, 0, 0

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def main() -> None:
    """Fuzz for a time, and print a table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--kind", choices=KINDS, help="one kind; all in turn by default")
    options.add_argument("--minutes", type=float, default=1.0)
    options.add_argument("--seed", type=int, default=0, help="number of the first input")
    options.add_argument("--found", type=Path, default=Path("found"), help="gets the findings")
    options.add_argument("--replay", metavar="KIND-NUMBER", help="build and read one input here")
    options.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.child:
        serve_child()
        return
    if asked.replay:
        kind, _, number = Path(asked.replay).name.rpartition("-")
        with tempfile.TemporaryDirectory() as folder:
            KINDS[kind][2](build(kind, int(number.split(".")[0]), Path(folder)))
        return
    kinds = [asked.kind] if asked.kind else [
        kind for kind in KINDS if kind == "ome-zarr" or KINDS[kind][1](np.random.default_rng(0))
    ]  # fmt: skip
    child, number, counts = Child(), asked.seed, Counter[str]()
    slowest, highest, found = 0.0, 0, 0
    ends, told = time.monotonic() + 60 * asked.minutes, time.monotonic()
    while time.monotonic() < ends:
        for kind in kinds:
            with tempfile.TemporaryDirectory() as folder:
                path = build(kind, number, Path(folder))
                failure, seconds, peak, held = child.read(kind, path)
                counts[kind] += 1
                slowest, highest = max(slowest, seconds), max(highest, peak)
                if not failure and seconds > SECONDS:
                    failure = f"took {seconds:.0f} s"
                if not failure and peak > BYTES:
                    failure = f"took {peak / 1e9:.1f} GB"
                if failure:
                    found += 1
                    print(f"{kind}-{number}: {failure}", flush=True)
                    asked.found.mkdir(exist_ok=True)
                    kept = asked.found / path.name
                    if path.is_dir():
                        shutil.copytree(path, kept, dirs_exist_ok=True)
                    else:
                        shutil.copy(path, kept)
                if failure or peak > BYTES / 2:
                    child.close()
        number += 1
        if time.monotonic() - told > 30:
            told = time.monotonic()
            print(f"… {sum(counts.values())} inputs, {found} findings, slowest {slowest:.1f} s, "
                  f"peak {highest / 1e9:.2f} GB, held {held / 1e9:.2f} GB", flush=True)  # fmt: skip
    child.close()
    print(f"{dict(counts)}: {found} findings; slowest {slowest:.1f} s, peak "
          f"{highest / 1e9:.2f} GB, next number {number}")  # fmt: skip


if __name__ == "__main__":
    main()
