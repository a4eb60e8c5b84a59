"""The pixel size that a task or a file states; None for anything that is not one."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from ml_backend.imaging.pixel_size import read_file_pixel_size, read_task_pixel_size


@pytest.mark.parametrize(
    ("value", "size"),
    [(0.25, 0.25), ("0.25", 0.25), (0, None), (-1, None), ("", None), ("a", None),
     (float("nan"), None), (float("inf"), None), (None, None), ([], None)],
)  # fmt: skip
def test_what_a_task_says(value: object, size: float | None) -> None:
    assert read_task_pixel_size({"pixel_size": value}) == size
    assert read_task_pixel_size({}) is None


def test_what_a_file_says(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8), np.uint8)
    ome, plain, imagej = (tmp_path / name for name in ("a.ome.tif", "b.tif", "c.tif"))
    tifffile.imwrite(
        ome, pixels, ome=True, metadata={"PhysicalSizeX": 250, "PhysicalSizeXUnit": "nm"}
    )
    tifffile.imwrite(plain, pixels, resolution=(72, 72), resolutionunit="INCH")
    tifffile.imwrite(imagej, pixels, imagej=True, resolution=(4, 4), metadata={"unit": "um"})
    assert read_file_pixel_size(ome) == pytest.approx(0.25)
    assert read_file_pixel_size(plain) is None
    assert read_file_pixel_size(imagej) == pytest.approx(0.25)
    (tmp_path / "d.tif").write_bytes(b"II*\0 but nothing more")
    assert read_file_pixel_size(tmp_path / "d.tif") is None
    assert read_file_pixel_size(tmp_path / "e.png") is None
