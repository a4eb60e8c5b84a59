"""The pictures of a report: overviews with boxes and enlarged areas, and each object by itself.

They are put together from the pieces in which the images are read.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from io import BytesIO

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageOps

from tasks.reports.counts import Box, ImageGroup, MarkedObject
from tasks.reports.drawing import (
    INK,
    PAPER,
    draw_box,
    draw_frame,
    draw_letter,
    draw_scale_bar,
    load_font,
)
from tasks.reports.source import Piece, Pixels
from tasks.sources.discover import Skipped

OVERVIEW = 1400  # longer side of an overview, px
AREAS = 4  # enlarged areas of an overview, at most
GAP = 12  # between pictures, px
ENLARGED = (OVERVIEW - (AREAS - 1) * GAP) // AREAS  # side of an enlarged area, px
# Where the objects are longer than that on the overview, in px, no areas are enlarged.
LARGE_ENOUGH = 100
THUMBNAIL = 144  # side of the picture of a single object, px
AROUND = 1.5  # side of what that picture shows, in longer sides of the object
ACROSS, DOWN = 8, 10  # objects on a contact sheet

_EMPTY = 58  # the grey where no image lies


class Canvas:
    """A rectangle of a group of images at some scale, filled as the pieces of the group come.

    Args:
        rect: x1, y1, x2, y2 in px of the group.
        scale: Pixels of the canvas for each pixel of the group.
        plane: The plane to show; another one fills only what this one does not.

    Attributes:
        rect: As given.
        scale: As given.
        pixels: (H, W, 3) uint8 RGB; grey where nothing has come.
    """

    def __init__(self, rect: Box, scale: float, plane: int) -> None:
        self.rect, self.scale = rect, scale
        self._plane = plane
        width, height = (max(1, round(side * scale)) for side in _measure_sides(rect))
        self.pixels = np.full((height, width, 3), _EMPTY, np.uint8)
        self._filled = np.zeros((height, width), bool)

    def paste(self, piece: Piece) -> None:
        """Paste what of a piece lies on the canvas."""
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
        interpolation = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_CUBIC
        resized = cv2.resize(part, (x2 - x1, y2 - y1), interpolation=interpolation)
        filled = self._filled[y1:y2, x1:x2]
        if piece.plane == self._plane:
            self.pixels[y1:y2, x1:x2] = resized
            filled[:] = True
        else:
            self.pixels[y1:y2, x1:x2][~filled] = resized[~filled]

    def convert_box(self, box: Box) -> Box:
        """Convert a box from px of the group to px of the canvas."""
        x, y = self.rect[:2]
        a, b, c, d = box
        return tuple((v - o) * self.scale for v, o in ((a, x), (b, y), (c, x), (d, y)))  # type: ignore[return-value]

    def is_filled(self, rect: Box) -> bool:
        """Whether all of a rectangle, px of the group, that lies here has come, on its plane."""
        x1, y1, x2, y2 = (max(0, round(v)) for v in self.convert_box(rect))
        return bool(self._filled[y1:y2, x1:x2].all())


@dataclass(frozen=True)
class GroupPictures:
    """The pictures of a group of images.

    Attributes:
        overview: None where it was not asked for, or nothing could be read.
        thumbnails: A JPEG of each wanted object, by its number in the group.
    """

    overview: Image.Image | None
    thumbnails: dict[int, bytes]


def make_pictures(
    group: ImageGroup,
    pixels: Pixels,
    colours: dict[str, str],
    headline: Collection[str],
    *,
    whole: bool,
    skipped: list[Skipped],
) -> GroupPictures:
    """Make the pictures of a group, in one pass over its images.

    Args:
        group: The group.
        pixels: Where its pixels come from.
        colours: Of each class, #RRGGBB.
        headline: The classes whose objects get a picture each.
        whole: Make an overview too.
        skipped: Gets the images that cannot be read, with the reason.
    """
    wanted = [n for n, marked in enumerate(group.objects) if marked.label in headline]
    images = {group.objects[n].image for n in wanted}
    if whole:
        images = set(range(len(group.images)))
    canvases = _make_canvases(group, headline) if whole else []
    thumbnails = _Thumbnails(group, wanted, colours)
    read = False
    for piece in pixels.read_pieces(group, images, skipped):
        read = True
        for canvas in canvases:
            canvas.paste(piece)
        thumbnails.paste(piece)
    overview = _compose_overview(group, canvases, colours) if canvases and read else None
    return GroupPictures(overview, thumbnails.finish())


class _Thumbnails:
    """Pictures of single objects; each is kept as pixels only until all of it has come."""

    def __init__(self, group: ImageGroup, wanted: Sequence[int], colours: dict[str, str]) -> None:
        self._group, self._colours = group, colours
        self._wanted = np.array(wanted, int)
        self._rects = np.array([_surround(group, group.objects[n]) for n in wanted]).reshape(-1, 4)
        self._waiting = np.ones(len(wanted), bool)
        self._begun: dict[int, Canvas] = {}
        self._made: dict[int, bytes] = {}

    def paste(self, piece: Piece) -> None:
        height, width = piece.pixels.shape[:2]
        for place in np.flatnonzero(self._waiting).tolist():
            number = int(self._wanted[place])
            marked = self._group.objects[number]
            # Of images that are called something the size is often not known before they come.
            if marked.whole and (marked.image, marked.plane) == (piece.image, piece.plane):
                self._waiting[place] = False
                self._made[number] = encode_picture(_shrink(piece.pixels), quality=88)
        low, high = (piece.left, piece.top), (piece.left + width, piece.top + height)
        here = (self._rects[:, :2] < high).all(1) & (self._rects[:, 2:] > low).all(1)
        for place in np.flatnonzero(here & self._waiting).tolist():
            marked = self._group.objects[self._wanted[place]]
            canvas = self._begun.get(place)
            if canvas is None:
                left, top, right, bottom = self._rects[place].tolist()
                canvas = Canvas(
                    (left, top, right, bottom), THUMBNAIL / (right - left), marked.plane
                )
                self._begun[place] = canvas
            canvas.paste(piece)
            if canvas.is_filled(self._group.images[marked.image].rect):
                self._finish_object(place)

    def _finish_object(self, place: int) -> None:
        canvas, number = self._begun.pop(place), int(self._wanted[place])
        self._waiting[place] = False
        marked = self._group.objects[number]
        picture = Image.fromarray(canvas.pixels)
        solid = self._group.is_reviewed(marked)
        draw_box(picture, canvas.convert_box(marked.box), self._colours[marked.label], solid, 2)
        self._made[number] = encode_picture(picture, quality=88)

    def finish(self) -> dict[int, bytes]:
        """The pictures of all objects of which something could be read, by their number."""
        for place in [*self._begun]:
            self._finish_object(place)
        return self._made


def _shrink(pixels: np.ndarray) -> Image.Image:
    """An image in the middle of a thumbnail, as large as fits."""
    picture = ImageOps.pad(Image.fromarray(pixels), (THUMBNAIL, THUMBNAIL), color=(_EMPTY,) * 3)
    return picture


def _measure_sides(box: Box) -> tuple[float, float]:
    return box[2] - box[0], box[3] - box[1]


def _surround(group: ImageGroup, marked: MarkedObject) -> Box:
    """A square around an object, moved into the image that shows it if it fits there."""
    side = max(AROUND * max(_measure_sides(marked.box)), 16.0)
    image = group.images[marked.image]
    left, top = ((marked.box[i] + marked.box[i + 2] - side) / 2 for i in (0, 1))
    if side <= image.width:
        left = min(max(left, image.left), image.left + image.width - side)
    if side <= image.height:
        top = min(max(top, image.top), image.top + image.height - side)
    return left, top, left + side, top + side


def _make_canvases(group: ImageGroup, headline: Collection[str]) -> list[Canvas]:
    """A canvas for the whole group, and one for each area to enlarge."""
    width, height = group.width, group.height
    if not width or not height:
        return []
    plane = Counter(marked.plane for marked in group.objects).most_common(1)
    main = plane[0][0] if plane else group.images[0].plane
    scale = min(1.0, OVERVIEW / max(width, height))
    whole = Canvas((0, 0, width, height), scale, main)
    wanted = [marked for marked in group.objects if marked.label in headline]
    if not wanted or scale * _measure_median(wanted) > LARGE_ENOUGH:
        return [whole]
    rects = choose_areas(wanted, width, height)
    return [whole, *(Canvas(rect, ENLARGED / (rect[2] - rect[0]), main) for rect in rects)]


def _measure_median(objects: Sequence[MarkedObject]) -> float:
    """The median of the objects' longer sides, px of the group."""
    return float(np.median([max(_measure_sides(marked.box)) for marked in objects]))


def choose_areas(objects: Sequence[MarkedObject], width: int, height: int) -> list[Box]:
    """Choose the areas of a group to enlarge: those that show the most objects.

    Where there are classes that the areas before do not show, the next one shows such a class.

    Args:
        objects: Of the group.
        width: Of the group, px.
        height: Of the group, px.

    Returns:
        Up to AREAS squares that do not overlap, in reading order: x1, y1, x2, y2 in px.
    """
    if not objects:
        return []
    boxes = np.array([marked.box for marked in objects])
    labels = np.array([marked.label for marked in objects])
    side = min(max(5 * _measure_median(objects), 64.0), 0.5 * min(width, height))
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    corner = np.clip(middle - side / 2, 0, np.array([width - side, height - side]))
    # The squares around a thousand of the objects are enough to see where they are dense.
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


def _compose_overview(
    group: ImageGroup, canvases: Sequence[Canvas], colours: dict[str, str]
) -> Image.Image:
    """The whole group with its boxes, and the enlarged areas below it."""
    whole, *enlarged = canvases
    picture = Image.fromarray(whole.pixels)
    for marked in group.objects:
        solid = group.is_reviewed(marked)
        draw_box(picture, whole.convert_box(marked.box), colours[marked.label], solid, 3)
    if group.pixel_size:
        draw_scale_bar(picture, whole.scale, group.pixel_size)
    for number, canvas in enumerate(enlarged):
        draw_frame(picture, whole.convert_box(canvas.rect), chr(ord("A") + number))
    width = max(picture.width, len(enlarged) * (ENLARGED + GAP) - GAP)
    below = GAP + ENLARGED if enlarged else 0
    sheet = Image.new("RGB", (width, picture.height + below), PAPER)
    sheet.paste(picture, ((width - picture.width) // 2, 0))
    for number, canvas in enumerate(enlarged):
        area = Image.fromarray(canvas.pixels)
        for marked in group.objects:
            box = canvas.convert_box(marked.box)
            if box[2] > 0 and box[3] > 0 and box[0] < area.width and box[1] < area.height:
                draw_box(area, box, colours[marked.label], group.is_reviewed(marked), 3)
        if group.pixel_size:
            draw_scale_bar(area, canvas.scale, group.pixel_size)
        draw_letter(area, 6, 6, chr(ord("A") + number), 30)
        sheet.paste(area, (number * (ENLARGED + GAP), picture.height + GAP))
    return sheet


def make_contact_sheet(thumbnails: Sequence[tuple[str, bytes]]) -> Image.Image:
    """Put pictures of objects side by side in rows, each with its caption below.

    Args:
        thumbnails: (caption, JPEG) of 1 to ACROSS × DOWN objects; a caption that is too long
            is cut.
    """
    across = min(ACROSS, len(thumbnails))
    down = -(-len(thumbnails) // ACROSS)
    cell = THUMBNAIL + GAP, THUMBNAIL + 30
    sheet = Image.new("RGB", (across * cell[0] + GAP, down * cell[1] + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (caption, content) in enumerate(thumbnails):
        x = GAP + number % ACROSS * cell[0]
        y = GAP + number // ACROSS * cell[1]
        with Image.open(BytesIO(content)) as picture:
            sheet.paste(picture, (x, y))
        font = load_font(13)
        while draw.textlength(caption, font=font) > THUMBNAIL and len(caption) > 4:
            caption = caption[:-2].rstrip("…") + "…"
        draw.text((x, y + THUMBNAIL + 4), caption, fill=INK, font=font)
    return sheet


def encode_picture(picture: Image.Image, file_format: str = "JPEG", quality: int = 88) -> bytes:
    """Encode a picture as the content of a file.

    Args:
        picture: The picture.
        file_format: "JPEG" or "PNG".
        quality: Of a JPEG, 1..95.
    """
    content = BytesIO()
    picture.save(content, file_format, quality=quality)
    return content.getvalue()
