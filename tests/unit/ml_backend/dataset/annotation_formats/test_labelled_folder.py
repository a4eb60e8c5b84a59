"""Finding the images that annotation files mean, and the files of a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_backend.dataset.annotation_formats.labelled_folder import FolderImages, read_voc

ROOT = Path("/data")
IMAGES = FolderImages(
    ROOT,
    {ROOT / name: (8, 8) for name in ("a/1.png", "b/1.png", "b/2.png", "b/3.png", "3.tif")},
)

BOX = (
    "<object><name>x</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax>"
    "</bndbox></object>"
)
# Each level holds the one below ten times: a few lines that would fill the memory.
BOMB = "<!DOCTYPE a [<!ENTITY e0 'aaaaaaaaaa'>{}]><annotation>&e9;</annotation>".format(
    "".join(f"<!ENTITY e{n} '{f'&e{n - 1};' * 10}'>" for n in range(1, 10))
)


@pytest.mark.parametrize(
    ("written", "base", "found"),
    [
        ("1.png", "b", "b/1.png"),
        ("../a/1.png", "b", "a/1.png"),
        ("b\\1.png", "elsewhere", "b/1.png"),
        ("2.png", "a", "b/2.png"),
        ("/their/disk/2.png", "a", "b/2.png"),
    ],
)
def test_an_image_is_found_from_the_file_then_the_folder_then_by_name(
    written: str, base: str, found: str
) -> None:
    assert IMAGES.find(written, ROOT / base) == ROOT / found


def test_a_name_that_means_no_image_or_several_is_not_guessed() -> None:
    with pytest.raises(LookupError, match=r"^2 images are called 1\.png$"):
        IMAGES.find("1.png", ROOT)
    with pytest.raises(LookupError, match=r"^no image 9\.png$"):
        IMAGES.find("9.png", ROOT)


def test_a_name_without_its_ending_is_a_stem() -> None:
    assert IMAGES.find("2", ROOT, stem=True) == ROOT / "b/2.png"
    with pytest.raises(LookupError, match="2 images are called 3"):
        IMAGES.find("3", ROOT, stem=True)
    with pytest.raises(LookupError, match="no image 2"):
        IMAGES.find("2", ROOT)


def test_a_file_that_swells_is_refused_and_the_others_read(tmp_path: Path) -> None:
    (tmp_path / "1.xml").write_text(BOMB)
    (tmp_path / "2.xml").write_text(f"<annotation>{BOX}</annotation>")
    images = FolderImages(tmp_path, {tmp_path / f"{n}.png": (8, 8) for n in (1, 2)})
    faults: list[tuple[str, str]] = []
    found = list(read_voc(images, lambda file, fault: faults.append((file.name, fault))))
    assert [(image.name, truth.rows) for image, _, truth in found] == [
        ("2.png", [(1, 1, 5, 5, "x")])
    ]
    ((name, fault),) = faults
    assert name == "1.xml" and "document type" in fault
