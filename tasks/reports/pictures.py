"""The pictures of a report: a scan as a whole with its boxes, enlarged areas of it, and every
object by itself, put together from the pieces in which a scan is read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tasks.reports.counts import Box, Field, Thing
from tasks.reports.source import Piece, Pixels
from tasks.sources.discover import Skipped

OVERVIEW = 1400  # px of the longer side of a whole scan
AREAS = 4  # enlarged ones of a scan
GAP = 12
ENLARGED = (OVERVIEW - (AREAS - 1) * GAP) // AREAS  # px of a side
# Objects that are longer than that on the overview, in px, need not be enlarged.
LARGE_ENOUGH = 100
THUMB = 144  # px of a side of one object
AROUND = 1.5  # times the object's longer side is what its picture shows
ACROSS, DOWN = 8, 10  # objects on a contact sheet

_EMPTY = 58  # the grey of what no image shows
_INK, _PAPER = (30, 30, 30), (255, 255, 255)


class Canvas:
    """A rectangle of a field at some scale, filled as the pieces of the field come."""

    def __init__(self, rect: Box, scale: float, plane: int) -> None:
        self.rect, self.scale = rect, scale
        self._plane = plane
        width, height = (max(1, round(side * scale)) for side in _sides(rect))
        self.pixels = np.full((height, width, 3), _EMPTY, np.uint8)
        self._filled = np.zeros((height, width), bool)

    def paste(self, piece: Piece) -> None:
        """What of the piece lies here; other planes only where this one's own is not."""
        height, width = piece.pixels.shape[:2]
        left, top = max(piece.left, self.rect[0]), max(piece.top, self.rect[1])
        right = min(piece.left + width, self.rect[2])
        bottom = min(piece.top + height, self.rect[3])
        x1, x2 = (round((x - self.rect[0]) * self.scale) for x in (left, right))
        y1, y2 = (round((y - self.rect[1]) * self.scale) for y in (top, bottom))
        x2, y2 = min(x2, self.pixels.shape[1]), min(y2, self.pixels.shape[0])
        if x2 <= x1 or y2 <= y1:
            return
        part = piece.pixels[
            int(top - piece.top) : math.ceil(bottom - piece.top),
            int(left - piece.left) : math.ceil(right - piece.left),
        ]
        how = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_CUBIC
        shown = cv2.resize(part, (x2 - x1, y2 - y1), interpolation=how)
        filled = self._filled[y1:y2, x1:x2]
        if piece.plane == self._plane:
            self.pixels[y1:y2, x1:x2] = shown
            filled[:] = True
        else:
            self.pixels[y1:y2, x1:x2][~filled] = shown[~filled]

    def to_here(self, box: Box) -> Box:
        x, y = self.rect[:2]
        a, b, c, d = box
        return tuple((v - o) * self.scale for v, o in ((a, x), (b, y), (c, x), (d, y)))  # type: ignore[return-value]

    def shows(self, view: Box) -> bool:
        """Whether all that lies in the view, px of the field, has come, on its own plane."""
        x1, y1, x2, y2 = (max(0, round(v)) for v in self.to_here(view))
        return bool(self._filled[y1:y2, x1:x2].all())


@dataclass(frozen=True)
class Shown:
    """The pictures of a field. overview: None where it was not asked for, or nothing could be
    read. thumbs: of each wanted object, by its place among the field's, a JPEG."""

    overview: Image.Image | None
    thumbs: dict[int, bytes]


def show(
    one: Field,
    pixels: Pixels,
    colours: dict[str, str],
    headline: Collection[str],
    *,
    whole: bool,
    skipped: list[Skipped],
) -> Shown:
    """The pictures of a field, in one pass over its images.

    headline: the classes of which each object is shown. whole: with an overview.
    """
    wanted = [n for n, thing in enumerate(one.things) if thing.label in headline]
    looks = {one.things[n].look for n in wanted} | (set(range(len(one.looks))) if whole else set())
    canvases = _canvases(one, headline) if whole else []
    thumbs = _Thumbs(one, wanted, colours)
    read = False
    for piece in pixels.pieces(one, looks, skipped):
        read = True
        for canvas in canvases:
            canvas.paste(piece)
        thumbs.paste(piece)
    overview = _composed(one, canvases, colours) if canvases and read else None
    return Shown(overview, thumbs.finished())


class _Thumbs:
    """Pictures of single objects, each kept as pixels only until the last piece of it came."""

    def __init__(self, one: Field, wanted: Sequence[int], colours: dict[str, str]) -> None:
        self._field, self._colours = one, colours
        self._wanted = np.array(wanted, int)
        self._rects = np.array([_around(one, one.things[n]) for n in wanted]).reshape(-1, 4)
        self._waiting = np.ones(len(wanted), bool)
        self._begun: dict[int, Canvas] = {}
        self._made: dict[int, bytes] = {}

    def paste(self, piece: Piece) -> None:
        height, width = piece.pixels.shape[:2]
        low, high = (piece.left, piece.top), (piece.left + width, piece.top + height)
        here = (self._rects[:, :2] < high).all(1) & (self._rects[:, 2:] > low).all(1)
        for place in np.flatnonzero(here & self._waiting).tolist():
            thing = self._field.things[self._wanted[place]]
            canvas = self._begun.get(place)
            if canvas is None:
                left, top, right, bottom = self._rects[place].tolist()
                canvas = Canvas((left, top, right, bottom), THUMB / (right - left), thing.plane)
                self._begun[place] = canvas
            canvas.paste(piece)
            if canvas.shows(self._field.looks[thing.look].view):
                self._finish(place)

    def _finish(self, place: int) -> None:
        canvas, number = self._begun.pop(place), int(self._wanted[place])
        self._waiting[place] = False
        thing = self._field.things[number]
        picture = Image.fromarray(canvas.pixels)
        solid = self._field.reviewed(thing)
        _draw_box(picture, canvas.to_here(thing.box), self._colours[thing.label], solid, 2)
        self._made[number] = encoded(picture, quality=88)

    def finished(self) -> dict[int, bytes]:
        """All of which anything could be read."""
        for place in [*self._begun]:
            self._finish(place)
        return self._made


def _sides(box: Box) -> tuple[float, float]:
    return box[2] - box[0], box[3] - box[1]


def _around(one: Field, thing: Thing) -> Box:
    """A square around an object, moved into the image that shows it where it fits there."""
    side = max(AROUND * max(_sides(thing.box)), 16.0)
    look = one.looks[thing.look]
    left, top = ((thing.box[i] + thing.box[i + 2] - side) / 2 for i in (0, 1))
    if side <= look.width:
        left = min(max(left, look.left), look.left + look.width - side)
    if side <= look.height:
        top = min(max(top, look.top), look.top + look.height - side)
    return left, top, left + side, top + side


def _canvases(one: Field, headline: Collection[str]) -> list[Canvas]:
    """The whole field, and the areas of it to enlarge."""
    width, height = one.width, one.height
    if not width or not height:
        return []
    plane = Counter(thing.plane for thing in one.things).most_common(1)
    main = plane[0][0] if plane else one.looks[0].plane
    scale = min(1.0, OVERVIEW / max(width, height))
    whole = Canvas((0, 0, width, height), scale, main)
    wanted = [thing for thing in one.things if thing.label in headline]
    if not wanted or scale * _usual(wanted) > LARGE_ENOUGH:
        return [whole]
    rects = areas(wanted, width, height)
    return [whole, *(Canvas(rect, ENLARGED / (rect[2] - rect[0]), main) for rect in rects)]


def _usual(things: Sequence[Thing]) -> float:
    """The median of the objects' longer sides, px of the field."""
    return float(np.median([max(_sides(thing.box)) for thing in things]))


def areas(things: Sequence[Thing], width: int, height: int) -> list[Box]:
    """Up to AREAS squares of a field that show the most objects, no two of them the same ground.

    Each shows objects of a class that the ones before do not show, where there are such.
    """
    if not things:
        return []
    boxes = np.array([thing.box for thing in things])
    labels = np.array([thing.label for thing in things])
    side = min(max(5 * _usual(things), 64.0), 0.5 * min(width, height))
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    corner = np.clip(middle - side / 2, 0, np.array([width - side, height - side]))
    # Very many objects: what is around a thousand of them shows where they are dense.
    tried = corner[np.linspace(0, len(corner) - 1, min(len(corner), 1000)).astype(int)]
    chosen: list[Box] = []
    shown: set[str] = set()
    while len(chosen) < AREAS and len(tried):
        inside = (boxes[None, :, :2] >= tried[:, None]).all(2)
        inside &= (boxes[None, :, 2:] <= tried[:, None] + side).all(2)
        fresh = inside & ~np.isin(labels, list(shown))[None]
        best = int(np.lexsort((inside.sum(1), fresh.any(1)))[-1])
        left, top = tried[best].tolist()
        chosen.append((left, top, left + side, top + side))
        shown |= set(labels[inside[best]].tolist())
        tried = tried[(np.abs(tried - tried[best]) >= side).any(1)]
    return sorted(chosen, key=lambda rect: (rect[1], rect[0]))


def _composed(one: Field, canvases: Sequence[Canvas], colours: dict[str, str]) -> Image.Image:
    """The overview, the enlarged areas below it, and what the colours mean."""
    whole, *enlarged = canvases
    picture = Image.fromarray(whole.pixels)
    for thing in one.things:
        _draw_box(picture, whole.to_here(thing.box), colours[thing.label], one.reviewed(thing), 3)
    if one.pixel_size:
        _draw_scale_bar(picture, whole.scale, one.pixel_size)
    for number, canvas in enumerate(enlarged):
        _draw_frame(picture, whole.to_here(canvas.rect), chr(ord("A") + number))
    width = max(picture.width, len(enlarged) * (ENLARGED + GAP) - GAP)
    below = GAP + ENLARGED if enlarged else 0
    sheet = Image.new("RGB", (width, picture.height + below), _PAPER)
    sheet.paste(picture, ((width - picture.width) // 2, 0))
    for number, canvas in enumerate(enlarged):
        area = Image.fromarray(canvas.pixels)
        for thing in one.things:
            box = canvas.to_here(thing.box)
            if box[2] > 0 and box[3] > 0 and box[0] < area.width and box[1] < area.height:
                _draw_box(area, box, colours[thing.label], one.reviewed(thing), 3)
        if one.pixel_size:
            _draw_scale_bar(area, canvas.scale, one.pixel_size)
        _draw_letter(area, 6, 6, chr(ord("A") + number), 30)
        sheet.paste(area, (number * (ENLARGED + GAP), picture.height + GAP))
    return sheet


def _draw_box(picture: Image.Image, box: Box, colour: str, solid: bool, width: int) -> None:
    """A person's box is solid, a detector's dashed; small ones are drawn large enough to see."""
    grow = max(0.0, (8 - min(_sides(box))) / 2)
    x1, y1, x2, y2 = box[0] - grow, box[1] - grow, box[2] + grow, box[3] + grow
    draw = ImageDraw.Draw(picture)
    if solid:
        draw.rectangle((x1, y1, x2, y2), outline=colour, width=width)
        return
    dash = 4 * width
    for a, b, fixed, along in ((x1, x2, y1, 0), (x1, x2, y2, 0), (y1, y2, x1, 1), (y1, y2, x2, 1)):
        # An odd number of parts: both corners are drawn.
        parts = max(1, 2 * round((b - a) / dash / 2) + 1)
        step = (b - a) / parts
        for start in range(0, parts, 2):
            ends = a + start * step, a + (start + 1) * step
            line = [(end, fixed) if along == 0 else (fixed, end) for end in ends]
            draw.line(line, fill=colour, width=width)


def _draw_frame(picture: Image.Image, box: Box, letter: str) -> None:
    draw = ImageDraw.Draw(picture)
    draw.rectangle(box, outline=_INK, width=4)
    draw.rectangle(box, outline=_PAPER, width=2)
    _draw_letter(picture, box[0] + 3, box[1] + 3, letter, 22)


def _draw_letter(picture: Image.Image, x: float, y: float, letter: str, size: int) -> None:
    draw = ImageDraw.Draw(picture)
    draw.rectangle((x, y, x + size, y + size), fill=_PAPER)
    middle = (x + size / 2, y + size / 2)
    draw.text(middle, letter, fill=_INK, font=_font(round(0.75 * size)), anchor="mm")


def _draw_scale_bar(picture: Image.Image, scale: float, pixel_size: float) -> None:
    """A bar of a round length, about a fifth of the picture. pixel_size: µm."""
    most = picture.width / 5 / scale * pixel_size
    power = 10.0 ** math.floor(math.log10(most))
    length = max(n * power for n in (1, 2, 5) if n * power <= most)
    right, bottom = picture.width - 12, picture.height - 12
    left = right - length / pixel_size * scale
    draw = ImageDraw.Draw(picture)
    text = f"{length:g} µm" if length < 1000 else f"{length / 1000:g} mm"
    draw.rectangle((left - 8, bottom - 34, right + 8, bottom + 8), fill=_INK)
    draw.rectangle((left, bottom - 5, right, bottom), fill=_PAPER)
    draw.text(((left + right) / 2, bottom - 19), text, fill=_PAPER, font=_font(16), anchor="mm")


def contact_sheet(thumbs: Sequence[tuple[str, bytes]]) -> Image.Image:
    """Pictures of objects in rows, each with its words below; at most ACROSS × DOWN of them."""
    across = min(ACROSS, len(thumbs))
    down = -(-len(thumbs) // ACROSS)
    cell = THUMB + GAP, THUMB + 30
    sheet = Image.new("RGB", (across * cell[0] + GAP, down * cell[1] + GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (words, content) in enumerate(thumbs):
        x = GAP + number % ACROSS * cell[0]
        y = GAP + number // ACROSS * cell[1]
        with Image.open(BytesIO(content)) as picture:
            sheet.paste(picture, (x, y))
        font = _font(13)
        while draw.textlength(words, font=font) > THUMB and len(words) > 4:
            words = words[:-2].rstrip("…") + "…"
        draw.text((x, y + THUMB + 4), words, fill=_INK, font=font)
    return sheet


def encoded(picture: Image.Image, form: str = "JPEG", quality: int = 88) -> bytes:
    """The picture as a file's content."""
    content = BytesIO()
    picture.save(content, form, quality=quality)
    return content.getvalue()


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """matplotlib's, because Pillow's own knows no letters beyond ASCII, not even µ."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), size)
