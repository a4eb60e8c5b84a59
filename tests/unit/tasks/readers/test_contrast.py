"""What is black and white in a scan of deep samples, from a few of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.imaging.decode import UnreadableImage, find_contrast_limits
from tasks.readers.contrast import SAMPLED_PLANES, Contrast, choose_stride, measure_limits
from tasks.readers.planes import Rendering


@dataclass
class Samples:
    """A plane of deep samples; or one that cannot be read."""

    values: np.ndarray | None
    deep: bool = True

    def sample(self, pixels: int) -> np.ndarray:
        if self.values is None:
            raise OSError("cut off")
        return self.values


def make_plane(seed: int, dtype: str = "uint16", most: int = 4000) -> Samples:
    values = np.random.default_rng(seed).integers(0, most, (40, 30, 1))
    return Samples(values.astype(dtype))


def test_one_series_shows_every_plane_with_the_same_limits() -> None:
    contrast = Contrast(np.dtype("uint16"))
    dark, bright = make_plane(0), make_plane(1, most=9000)
    contrast.planes += [dark, Samples(None), bright]
    both = np.concatenate([dark.sample(1).ravel(), bright.sample(1).ravel()])
    assert contrast.limits() == find_contrast_limits(both.reshape(-1, 1, 1))
    shown = contrast.make_renderer(deep=True)(dark.sample(1))
    assert shown.dtype == np.uint8 and shown.shape == (40, 30, 3)


def test_the_limits_of_the_whole_scan_come_before_the_file_s_own() -> None:
    contrast = Contrast(np.dtype("uint16"))
    contrast.planes.append(make_plane(0))
    contrast.apply(Rendering(limits=(("float32", 0.0, 1.0),)))
    own = contrast.limits()
    contrast.apply(Rendering(limits=(("uint16", 5.0, 77.0),)))
    assert contrast.limits() == (5.0, 77.0) != own


def test_a_series_of_which_nothing_can_be_read_is_refused() -> None:
    contrast = Contrast(np.dtype("uint16"))
    contrast.planes.append(Samples(None))
    with pytest.raises(UnreadableImage):
        contrast.limits()


def test_limits_are_measured_by_type() -> None:
    planes = [make_plane(0), make_plane(1, "float32", 9), make_plane(2)]
    limits = {name: (black, white) for name, black, white in measure_limits(planes)}
    assert set(limits) == {"uint16", "float32"}
    assert limits["float32"][1] <= 9 < limits["uint16"][1]


@given(st.integers(1, 200))
def test_a_scan_of_many_planes_is_sampled_in_few(number: int) -> None:
    read = []

    class Counted(Samples):
        def sample(self, pixels: int) -> np.ndarray:
            read.append(pixels)
            return np.zeros((1, 1, 1), np.uint16)

    measure_limits([Counted(None) for _ in range(number)])
    assert 1 <= len(read) <= SAMPLED_PLANES and (number > SAMPLED_PLANES or len(read) == number)


@given(st.integers(1, 10**5), st.integers(1, 10**5), st.integers(1, 10**6))
def test_a_stride_leaves_at_least_about_as_many_pixels_as_wanted(
    width: int, height: int, pixels: int
) -> None:
    stride = choose_stride(width, height, pixels)
    assert stride >= 1
    assert stride == 1 or stride**2 * pixels <= width * height < (stride + 1) ** 2 * pixels
