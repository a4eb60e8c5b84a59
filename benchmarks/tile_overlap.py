"""How often the overlap of a microscope's tiles is found out by what they show.

    uv run python benchmarks/tile_overlap.py [--scans 60]

Generated scans of tiles of 240 × 180 px with few, large cells (12 to 60 px) in noise: two
tiles with a single cell where they meet, which is the least that there can be, and grids of
3 × 3 and 5 × 5 tiles with on average one cell on every second seam. Tiles abut, share a narrow
strip (4 to 10 % of a side, less than a large cell), or a usual one (15 to 30 %). A scan is
right if both ways are within 3 px of the truth; "said to abut" is what is said as well
where nothing can be known. Then a real grid of phase-contrast tiles, beside the project.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import tifffile

from tasks.mosaic.tile_offsets import measure_offsets
from tasks.readers.open import examine
from tasks.sources.discover import ScanFiles, SourceFile, TileFiles

REAL = Path(__file__).parents[2] / "shared" / "data" / "mosaic" / "tiles"
WIDTH, HEIGHT = 240, 180
GRIDS = {"two tiles": (1, 2), "3 × 3": (3, 3), "5 × 5": (5, 5)}
SHARED = {"nothing": (0.0, 0.0), "4 to 10 %": (0.04, 0.1), "15 to 30 %": (0.15, 0.3)}
NEAR = 3  # px


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--scans", type=int, default=60)
    asked = arguments.parse_args()
    print(f"{'':12}{'they share':14}{'right':>7}{'said to abut':>14}{'wrong overlap':>15}")
    for grid, (rows, columns) in GRIDS.items():
        for name, (least, most) in SHARED.items():
            outcomes = Counter(
                one_scan(np.random.default_rng(number), rows, columns, least, most)
                for number in range(asked.scans)
            )
            counts = "".join(
                f"{outcomes[key]:{n}}" for key, n in (("right", 7), ("abut", 14), ("wrong", 15))
            )
            print(f"{grid:12}{name:14}{counts}")
    if REAL.is_dir():
        print(f"\nreal, 5 × 5 of 245 × 183 px, which its authors overlapped: {real()}")


def one_scan(rng: np.random.Generator, rows: int, columns: int, least: float, most: float) -> str:
    share = rng.uniform(least, most)
    shared = round(share * WIDTH), round(share * HEIGHT)
    tiles = scene(rng, rows, columns, shared)
    files = {place: SourceFile(Path(), f"{place}") for place in tiles}
    places = tuple(TileFiles(*place, (file,)) for place, file in files.items())
    pixels = {files[place]: tile for place, tile in tiles.items()}
    group = ScanFiles("scan", "scan", True, places)
    steps = measure_offsets(group, WIDTH, HEIGHT, pixels.get, lambda file: None)
    true = (WIDTH - shared[0], 0), (0, HEIGHT - shared[1])
    ways = [(steps.right, true[0], (WIDTH, 0))] * (columns > 1)
    ways += [(steps.down, true[1], (0, HEIGHT))] * (rows > 1)
    if all(np.abs(np.subtract(found, truth)).max() <= NEAR for found, truth, _ in ways):
        return "right"
    misled = any(
        found != apart and np.abs(np.subtract(found, truth)).max() > NEAR
        for found, truth, apart in ways
    )
    return "wrong" if misled else "abut"


def scene(
    rng: np.random.Generator, rows: int, columns: int, shared: tuple[int, int]
) -> dict[tuple[int, int], np.ndarray]:
    """Tiles by row and column, of a field with cells on some of the seams and some elsewhere."""
    right, down = WIDTH - shared[0], HEIGHT - shared[1]
    pixels = np.zeros((down * (rows - 1) + HEIGHT, right * (columns - 1) + WIDTH), np.float32)
    seams = [(r, c, 0) for r in range(rows) for c in range(1, columns)]
    seams += [(r, c, 1) for r in range(1, rows) for c in range(columns)]
    many = max(1, len(seams) // 2)
    chosen = [seams[n] for n in rng.permutation(len(seams))[:many]]
    places = [
        (c * right + shared[0] // 2, r * down + rng.integers(30, HEIGHT - 30))
        if way == 0
        else (c * right + rng.integers(30, WIDTH - 30), r * down + shared[1] // 2)
        for r, c, way in chosen
    ]
    places += [
        (rng.integers(pixels.shape[1]), rng.integers(pixels.shape[0]))
        for _ in range(rows * columns if rows * columns > 2 else 0)
    ]
    for x, y in places:
        sides = int(rng.integers(6, 31)), int(rng.integers(6, 31))
        turn = float(rng.integers(180))
        cell = np.zeros_like(pixels)
        cv2.ellipse(cell, (int(x), int(y)), sides, turn, 0, 360, float(rng.integers(90, 200)), -1)
        pixels = np.maximum(pixels, cell)
    pixels = cv2.GaussianBlur(pixels, (0, 0), 1.5) + 20
    return {
        (r, c): (part := pixels[r * down :, c * right :][:HEIGHT, :WIDTH])
        + rng.normal(0, 5, part.shape)
        for r in range(rows)
        for c in range(columns)
    }


def real() -> str:
    """What is found out of real tiles, which were taken column by column."""
    places = tuple(
        TileFiles(number % 5, number // 5, (SourceFile(path.parent, path.name),))
        for number, path in enumerate(sorted(REAL.iterdir()))
    )
    steps = measure_offsets(
        ScanFiles("real", "real", True, places),
        245,
        183,
        lambda file: tifffile.imread(file.path),
        lambda file: examine(file.path).stage_position,
    )
    return f"{steps.words} ({steps.right}, {steps.down})"


if __name__ == "__main__":
    main()
