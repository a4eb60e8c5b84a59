"""Detections at random, to be written and read again."""

from __future__ import annotations

import io
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from ml_backend.dataset.annotation_formats.records import (
    Detected,
    Detection,
    FileFormat,
    ImageAnnotations,
)

LABELS = ("Mitotic cell", "Other", "Zelle, „groß“\n")
WIDTH, HEIGHT = 1200, 900

# Tests of laws on detections: fewer examples than usual, each of which is large, and no limit of
# time, which a busy machine exceeds.
laws = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Hundredths of a pixel, as detections are written.
cents = st.integers(0, 40_000).map(lambda value: value / 100)


@st.composite
def detections(draw: st.DrawFn) -> Detection:
    x, y = draw(cents), draw(cents)
    width, height = draw(cents) + 0.01, draw(cents) + 0.01
    return Detection(
        x,
        y,
        round(x + width, 2),
        round(y + height, 2),
        draw(st.sampled_from(LABELS)),
        round(draw(st.floats(0.01, 1)), 4),
        draw(st.integers(0, 20)),
        draw(st.booleans()),
    )


def images(min_boxes: int = 0, **options: Any) -> st.SearchStrategy[list[Detected]]:
    """Some images of different names, each with up to four detections; options: see `Detected`."""
    names = st.lists(
        st.sampled_from([f"a/scan {n}.tif" for n in range(9)]), unique=True, max_size=4
    )
    return names.flatmap(
        lambda sources: st.tuples(
            *(
                st.builds(
                    Detected,
                    st.just(source),
                    st.just(WIDTH),
                    st.just(HEIGHT),
                    st.lists(detections(), min_size=min_boxes, max_size=4),
                    **{key: st.just(value) for key, value in options.items()},
                )
                for source in sources
            )
        )
    ).map(list)


def write_text(form: FileFormat, found: list[Detected]) -> str:
    """What a format writes of them."""
    text = io.StringIO(newline="")
    with form.write(text) as add:
        for detected in found:
            add(detected)
    return text.getvalue()


def read_text(form: FileFormat, text: str) -> list[ImageAnnotations]:
    """What a format reads in a text; a fault fails the test."""

    def fail(fault: str) -> None:
        raise AssertionError(fault)

    return list(form.read(form.parse(text), fail))
