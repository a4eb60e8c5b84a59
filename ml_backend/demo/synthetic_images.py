"""Generated fields of view with exact boxes, to try the whole loop without a network.

Every object is a small float32 patch of light, and a field is their sum: in fluorescence
objects do not hide each other. The pixels that an object lights above a share of its own
brightness are the object, and its box frames exactly these pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

from ml_backend.demo import synthetic_chromosomes, synthetic_nuclei, synthetic_tetrads
from ml_backend.demo.synthetic_chromosomes import Karyotype
from ml_backend.demo.synthetic_texture import blur, make_smooth_noise
from ml_backend.imaging.boxes import Boxes

PHASES: dict[str, Callable[[np.random.Generator, Karyotype], np.ndarray]] = {
    "Prophase": synthetic_chromosomes.generate_prophase,
    "Metaphase": synthetic_chromosomes.generate_metaphase,
    "Anaphase": synthetic_chromosomes.generate_anaphase,
    "Telophase": synthetic_chromosomes.generate_telophase,
}
COMMON = (0.3, 0.45, 0.13, 0.12)  # share of each phase among dividing cells, as of its duration

# Sizes in px as in real preparations at 1388 × 1040, from large genomes to small ones.
KARYOTYPES = {
    "onion-like": Karyotype(16, 210, 21, 135, 9, 0.09, 3, 0),
    "garlic-like": Karyotype(16, 170, 18, 125, 7, 0.14, 2, 0),
    "welsh-onion-like": Karyotype(16, 110, 16, 115, 7, 0.16, 2, 0),
    "wheat-like": Karyotype(42, 100, 14, 118, 9, 0.25, 0, 0),
    "woodland-tobacco-like": Karyotype(24, 70, 15, 108, 6, 0.22, 1, 0),
    "tobacco-like": Karyotype(44, 52, 14, 125, 5, 0.18, 1, 0),
    "sunflower-like": Karyotype(34, 46, 15, 112, 7, 0.22, 1, 0),
    "rice-like": Karyotype(24, 24, 10, 82, 7, 0.25, 1, 0),
    "cress-like": Karyotype(10, 13, 12, 72, 9, 0.2, 1, 12),
}
EXTENT = 0.16  # share of an object's own brightness from which a pixel belongs to it
SEEN = 0.35  # an object of which a smaller share lies inside the field is not placed


@dataclass(frozen=True)
class PlacedObject:
    """An object of a scene.

    Attributes:
        name: Its class.
        left: Where its mask begins in the image, px.
        top: The same, downwards.
        mask: Its pixels, bool (H, W).
    """

    name: str
    left: int
    top: int
    mask: np.ndarray

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The frame of the mask, (x1, y1, x2, y2) in px; x2 and y2 lie just outside."""
        x, y, width, height = cv2.boundingRect(self.mask.astype(np.uint8))
        return self.left + x, self.top + y, self.left + x + width, self.top + y + height


@dataclass(frozen=True)
class Scene:
    """A generated field.

    Attributes:
        image: uint8 (H, W, 3) RGB.
        objects: Everything in it that has a class.
    """

    image: np.ndarray
    objects: list[PlacedObject]


def generate_field(
    rng: np.random.Generator | int,
    kind: Literal["mitosis", "tetrads"] = "mitosis",
    size: tuple[int, int] = (1388, 1040),
    *,
    labels: Literal["mitosis", "phases"] = "mitosis",
    dividing: int | None = None,
    species: str | None = None,
    scale: float = 1.0,
) -> tuple[np.ndarray, Boxes]:
    """Generate a field with the boxes of what is in it.

    Args:
        rng: A seed or a generator; the same seed gives the same field.
        kind: What is on the slide.
        size: (width, height), px.
        labels: For mitosis, "mitosis" names boxes `Mitotic cell` and `Other`; "phases" names
            them Interphase, Prophase, Metaphase, Anaphase, Telophase and leaves debris out.
        dividing: How many dividing cells to place; None for a usual number.
        species: A key of KARYOTYPES; None for any of them.
        scale: The size of the cells; 1 as in real images of 1388 × 1040 px.

    Returns:
        The image, uint8 (H, W, 3) RGB, and the boxes.
    """
    scene = (
        generate_tetrad_scene(rng, size, scale)
        if kind == "tetrads"
        else generate_mitosis_scene(rng, size, dividing=dividing, species=species, scale=scale)
    )
    rows = []
    for placed in scene.objects:
        name: str | None = placed.name
        if kind == "mitosis":
            if labels == "mitosis":
                name = "Mitotic cell" if placed.name in PHASES else "Other"
            elif placed.name == "Debris":
                name = None
        if name is not None:
            rows.append((*map(float, placed.box), name))
    return scene.image, Boxes.from_rows(rows)  # type: ignore[arg-type]


def generate_mitosis_scene(
    rng: np.random.Generator | int,
    size: tuple[int, int] = (1388, 1040),
    *,
    dividing: int | None = None,
    species: str | None = None,
    scale: float = 1.0,
) -> Scene:
    """Generate a DAPI preparation of one species; for the arguments see `generate_field`."""
    rng = np.random.default_rng(rng)
    karyotype = vary_karyotype(rng, species, scale)
    if dividing is None:
        dividing = int(rng.choice([0, 1, 2, 3], p=[0.15, 0.5, 0.25, 0.1]))
    room = size[0] * size[1] / (2.4 * karyotype.nucleus) ** 2
    quiet = rng.poisson(room * rng.choice([0.06, 0.25, 0.55]))
    torn = rng.poisson(0.5)
    names = [str(name) for name in rng.choice(list(PHASES), dividing, p=COMMON)]
    names += ["Interphase"] * max(quiet, 1 if not dividing else 0) + ["Debris"] * torn
    # In some species the chromosomes outshine the nuclei, in others it is the reverse.
    bright = {"Interphase": rng.uniform(0.35, 1.0), "Debris": rng.uniform(0.3, 0.6)}
    focus = rng.uniform(1.0, 2.4) * scale
    crowd = rng.choice([0.0, 0.3, 0.7])
    canvas = np.zeros((size[1], size[0]), np.float32)
    objects: list[PlacedObject] = []
    taken: list[tuple[float, float, float]] = []
    for name in names:
        generate = (
            PHASES.get(name)
            or {
                "Interphase": synthetic_nuclei.generate_interphase,
                "Debris": synthetic_nuclei.generate_debris,
            }[name]
        )
        light = generate(rng, karyotype) * bright.get(name, 0.95) * rng.uniform(0.75, 1.1)
        if name not in PHASES and rng.random() < 0.2:
            light = blur(0.5 * light, rng.uniform(4, 14) * scale)
        else:
            light = blur(light, focus * (3 if rng.random() < 0.15 else 1))
        placed = place_object(
            rng, canvas, light, name, taken, edge=name not in PHASES, clump=crowd, near=0.98
        )
        if placed is not None:
            objects.append(placed)
    return Scene(_camera(rng, canvas, scale), objects)


def generate_tetrad_scene(
    rng: np.random.Generator | int, size: tuple[int, int] = (1536, 1920), scale: float = 1.0
) -> Scene:
    """Generate a field of qrt pollen; for the arguments see `generate_field`."""
    rng = np.random.default_rng(rng)
    grain = 11.0 * scale
    canvas = np.zeros((size[1], size[0], 3), np.float32)
    density = rng.uniform(0.2, 1.1)
    count = max(1, int(density * size[0] * size[1] / (5 * grain) ** 2))
    names = rng.choice(list(synthetic_tetrads.ARRANGEMENTS), count, p=[0.45, 0.17, 0.23, 0.15])
    objects: list[PlacedObject] = []
    taken: list[tuple[float, float, float]] = []
    for name in names:
        light = synthetic_tetrads.generate_group(rng, str(name), grain)
        placed = place_object(rng, canvas, light, str(name), taken, edge=True, clump=0.6, near=0.78)
        if placed is not None:
            objects.append(placed)
    return Scene(_colour_camera(rng, canvas, scale), objects)


def vary_karyotype(rng: np.random.Generator, species: str | None, scale: float) -> Karyotype:
    """Vary the karyotype of a species, as preparations vary.

    Args:
        rng: Where the randomness comes from.
        species: A key of KARYOTYPES; None for any of them.
        scale: The size of the cells; 1 as in real images of 1388 × 1040 px.
    """
    base = KARYOTYPES[species or str(rng.choice(list(KARYOTYPES)))]
    zoom = scale * np.exp(rng.normal(0, 0.12))
    return replace(
        base,
        count=max(6, round(base.count * rng.uniform(0.85, 1.15))),
        length=base.length * zoom * np.exp(rng.normal(0, 0.15)),
        thickness=max(2.0, base.thickness * zoom * np.exp(rng.normal(0, 0.08))),
        nucleus=base.nucleus * zoom,
        grain=max(2.0, base.grain * zoom),
        contrast=base.contrast * rng.uniform(0.6, 1.2),
    )


def place_object(
    rng: np.random.Generator,
    canvas: np.ndarray,
    light: np.ndarray,
    name: str,
    taken: list[tuple[float, float, float]],
    *,
    edge: bool,
    clump: float,
    near: float,
) -> PlacedObject | None:
    """Add an object to a canvas at a free place.

    Args:
        rng: Where the randomness comes from.
        canvas: float32, (H, W) or (H, W, 3); the light is added to it.
        light: The light of the object, with as many channels.
        name: The class of the object.
        taken: (x, y, radius) of the objects on the canvas, px; gets that of this one.
        edge: Whether the edge of the field may cut the object.
        clump: How often it lies beside another, 0..1.
        near: How close two may come; 1 where the circles around them touch.

    Returns:
        The object, or None where 40 tries found no free place.
    """
    plane = light if light.ndim == 2 else light.max(2)
    mask = plane > EXTENT * np.percentile(plane[plane > 0.05 * plane.max()], 90)
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    radius = 0.5 * np.hypot(width, height) * 0.85
    rows, columns = canvas.shape[:2]
    if not edge and (width + 4 > columns or height + 4 > rows):
        return None
    spill = np.array([0.2 * width, 0.2 * height]) if edge else -np.array([width, height]) / 2 - 2
    for _ in range(40):
        if taken and rng.random() < clump:
            # Beside one that already lies there, touching it.
            ox, oy, far = taken[rng.integers(len(taken))]
            angle, reach = rng.uniform(0, 2 * np.pi), near * (radius + far) + 1
            cx, cy = ox + reach * np.cos(angle), oy + reach * np.sin(angle)
        else:
            cx, cy = rng.uniform(-spill, [columns, rows] + spill)
        if not (-spill[0] <= cx <= columns + spill[0] and -spill[1] <= cy <= rows + spill[1]):
            continue
        if all(np.hypot(cx - ox, cy - oy) > near * (radius + far) for ox, oy, far in taken):
            break
    else:
        return None
    left, top = round(cx - x - width / 2), round(cy - y - height / 2)
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + plane.shape[1], columns), min(top + plane.shape[0], rows)
    if x1 >= x2 or y1 >= y2:
        return None
    inside = np.s_[y1 - top : y2 - top, x1 - left : x2 - left]
    if mask[inside].sum() < SEEN * mask.sum():
        return None
    canvas[y1:y2, x1:x2] += light[inside]
    taken.append((cx, cy, radius))
    return PlacedObject(name, x1, y1, mask[inside])


def _camera(rng: np.random.Generator, canvas: np.ndarray, scale: float) -> np.ndarray:
    """Haze, dust, background and noise over the light of the objects: uint8 RGB."""
    rows, columns = canvas.shape
    small = cv2.resize(
        canvas, (max(2, columns // 8), max(2, rows // 8)), interpolation=cv2.INTER_AREA
    )
    haze = cv2.GaussianBlur(small, (0, 0), max(1.0, 4 * scale))
    haze = haze + 0.7 * cv2.GaussianBlur(small, (0, 0), max(2.0, 16 * scale))
    canvas = canvas + rng.uniform(0.04, 0.24) * cv2.resize(haze, (columns, rows))
    for _ in range(rng.poisson(12)):
        spot = rng.uniform(1, 5) * scale + 0.5
        _spot(canvas, rng.uniform(0, columns), rng.uniform(0, rows), spot, rng.uniform(0.02, 0.15))
    gain = rng.uniform(150, 215)
    image = gain * canvas
    ground = rng.choice([0.0, 4.0, 11.0, 20.0, 40.0], p=[0.12, 0.28, 0.32, 0.2, 0.08])
    vignette = 1 + rng.uniform(-0.1, 0.1) + 0.15 * make_smooth_noise(rng, canvas.shape, columns)
    image = image + ground * np.clip(vignette, 0.5, 1.5)
    if rng.random() < 0.5:  # autofluorescence of the squashed cells around
        cloud = make_smooth_noise(rng, canvas.shape, 180 * scale) + 0.4 * make_smooth_noise(
            rng, canvas.shape, 40 * scale
        )
        image = image + rng.uniform(1, 6) * np.clip(cloud, 0, None)
    # Light comes in single photons: noise grows with its root.
    noise = rng.standard_normal(canvas.shape, np.float32)
    image = image + noise * (0.4 + 0.14 * np.sqrt(np.clip(image, 0, None)))
    # A camera's curve bends at the top instead of cutting highlights off.
    image = np.where(image > 180, 180 + 75 * np.tanh((image - 180) / 75), image)
    grey = np.clip(image + 0.5, 0, 255).astype(np.uint8)
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)


def _colour_camera(rng: np.random.Generator, light: np.ndarray, scale: float) -> np.ndarray:
    """Background, colour fringes and noise over the light of pollen: uint8 RGB."""
    rows, columns = light.shape[:2]
    image = cv2.GaussianBlur(light, (0, 0), max(1.0 * scale, 0.5)) * rng.uniform(0.9, 1.2)
    image = np.where(image > 170, 170 + 80 * np.tanh((image - 170) / 80), image)
    shade = 1 + 0.35 * make_smooth_noise(rng, (rows, columns), max(rows, columns) / 4)
    ground = np.array([16, 16, 11], np.float32) * rng.uniform(0.7, 1.4)
    image += ground * np.clip(shade, 0.3, 2)[..., None]
    # The lens brings red and blue light to slightly different places.
    image[..., 2] = np.roll(image[..., 2], -2, axis=1)
    image[..., 0] = np.roll(image[..., 0], 1, axis=0)
    noise = cv2.GaussianBlur(rng.standard_normal(image.shape, np.float32), (0, 0), 0.8)
    image += noise * (2 + 0.09 * image)
    return np.clip(image, 0, 255).astype(np.uint8)


def _spot(canvas: np.ndarray, x: float, y: float, sigma: float, light: float) -> None:
    reach = int(3 * sigma) + 1
    x1, x2 = max(0, int(x) - reach), min(canvas.shape[1], int(x) + reach + 1)
    y1, y2 = max(0, int(y) - reach), min(canvas.shape[0], int(y) + reach + 1)
    grid_y, grid_x = np.mgrid[y1:y2, x1:x2]
    canvas[y1:y2, x1:x2] += light * np.exp(
        -((grid_x - x) ** 2 + (grid_y - y) ** 2) / (2 * sigma**2)
    )
