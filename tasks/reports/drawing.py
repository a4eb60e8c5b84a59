"""Boxes, frames, letters and scale bars, drawn on the pictures of a report."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from tasks.reports.counts import Box

INK, PAPER = (30, 30, 30), (255, 255, 255)


def draw_box(picture: Image.Image, box: Box, colour: str, solid: bool, width: int) -> None:
    """Draw a box; one of less than 8 px a side is drawn at 8 px, so that it can be seen.

    Args:
        picture: Is drawn on.
        box: x1, y1, x2, y2 in px of the picture.
        colour: #RRGGBB.
        solid: A solid line, as for a person's box; else a dashed one, as for a detector's.
        width: Of the line, px.
    """
    grow = max(0.0, (8 - min(box[2] - box[0], box[3] - box[1])) / 2)
    x1, y1, x2, y2 = box[0] - grow, box[1] - grow, box[2] + grow, box[3] + grow
    draw = ImageDraw.Draw(picture)
    if solid:
        draw.rectangle((x1, y1, x2, y2), outline=colour, width=width)
        return
    dash = 4 * width
    for a, b, fixed, along in ((x1, x2, y1, 0), (x1, x2, y2, 0), (y1, y2, x1, 1), (y1, y2, x2, 1)):
        # With an odd number of parts a dash lies at both corners.
        parts = max(1, 2 * round((b - a) / dash / 2) + 1)
        step = (b - a) / parts
        for start in range(0, parts, 2):
            ends = a + start * step, a + (start + 1) * step
            line = [(end, fixed) if along == 0 else (fixed, end) for end in ends]
            draw.line(line, fill=colour, width=width)


def draw_frame(picture: Image.Image, box: Box, letter: str) -> None:
    """Draw the frame of an enlarged area, with its letter in the upper left corner.

    Args:
        picture: Is drawn on.
        box: x1, y1, x2, y2 in px of the picture.
        letter: The letter.
    """
    draw = ImageDraw.Draw(picture)
    draw.rectangle(box, outline=INK, width=4)
    draw.rectangle(box, outline=PAPER, width=2)
    draw_letter(picture, box[0] + 3, box[1] + 3, letter, 22)


def draw_letter(picture: Image.Image, x: float, y: float, letter: str, size: int) -> None:
    """Draw a letter on a white square.

    Args:
        picture: Is drawn on.
        x: The left edge of the square, px.
        y: Its upper edge, px.
        letter: The letter.
        size: The side of the square, px.
    """
    draw = ImageDraw.Draw(picture)
    draw.rectangle((x, y, x + size, y + size), fill=PAPER)
    middle = (x + size / 2, y + size / 2)
    draw.text(middle, letter, fill=INK, font=load_font(round(0.75 * size)), anchor="mm")


def draw_scale_bar(picture: Image.Image, scale: float, pixel_size: float) -> None:
    """Draw a scale bar in the lower right corner.

    Its length is the largest of 1, 2 or 5 times a power of ten of µm that fits into a fifth of
    the picture's width.

    Args:
        picture: Is drawn on.
        scale: Pixels of the picture for each pixel of the image.
        pixel_size: µm that a pixel of the image shows.
    """
    most = picture.width / 5 / scale * pixel_size
    power = 10.0 ** math.floor(math.log10(most))
    length = max(n * power for n in (1, 2, 5) if n * power <= most)
    right, bottom = picture.width - 12, picture.height - 12
    left = right - length / pixel_size * scale
    draw = ImageDraw.Draw(picture)
    text = f"{length:g} µm" if length < 1000 else f"{length / 1000:g} mm"
    draw.rectangle((left - 8, bottom - 34, right + 8, bottom + 8), fill=INK)
    draw.rectangle((left, bottom - 5, right, bottom), fill=PAPER)
    draw.text(((left + right) / 2, bottom - 19), text, fill=PAPER, font=load_font(16), anchor="mm")


@cache
def load_font(size: int) -> ImageFont.FreeTypeFont:
    """Load the font of matplotlib; the default font of Pillow has only ASCII, not even µ.

    Args:
        size: The height of the letters, px.
    """
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), size)
