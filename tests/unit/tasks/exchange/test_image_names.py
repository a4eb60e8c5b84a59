"""What images of tasks are called, and whom a name means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.exchange.image_names import Names, flatten

DATA = {
    1: {"image": "/data/local-files/?d=3/0a1b2c.png", "source": "Os/1.tif"},
    2: {"image": "/data/local-files/?d=3/0a1b2d.png", "source": "Ta/1.tif"},
    3: {"image": "/data/upload/3/0a1b2c3d-leaf%202.png"},
    4: {"image": "https://pictures/a/field.jpg?token=1"},
    5: {"image": "https://pictures/b/field.jpg"},
    6: {},
}
NAMES = Names(DATA.items(), "image")


def test_a_task_is_called_as_it_was_imported_or_uploaded() -> None:
    assert [NAMES.get(task) for task in DATA] == [
        "Os/1.tif",
        "Ta/1.tif",
        "leaf 2.png",
        "4-field.jpg",
        "5-field.jpg",
        "image",
    ]


@pytest.mark.parametrize(
    ("written", "task"),
    [
        ("Os/1.tif", 1),
        ("Os\\1.tif", 1),
        ("/home/me/slides/Ta/1.tif", 2),
        ("Ta_1.tif", 2),
        ("0a1b2d.png", 2),
        ("images/leaf 2.png", 3),
        ("0a1b2c3d-leaf 2.png", 3),
    ],
)
def test_a_name_or_path_means_a_task(written: str, task: int) -> None:
    assert NAMES.find(written) == task


@pytest.mark.parametrize(("written", "task"), [("leaf 2", 3), ("train/Os/1", 1), ("Ta_1", 2)])
def test_a_name_without_ending_means_a_task(written: str, task: int) -> None:
    assert NAMES.find(written, stem=True) == task


def test_accents_are_the_same_however_a_system_writes_them() -> None:
    names = Names([(1, {"image": "x", "source": "bl\u00e4tter/1.png"})], "image")
    assert names.find("bla\u0308tter/1.png") == 1


def test_none_or_several_are_said() -> None:
    with pytest.raises(LookupError, match="2 images of the project are called field.jpg"):
        NAMES.find("field.jpg")
    with pytest.raises(LookupError, match=r"no image of the project is called 1\.png"):
        NAMES.find("1.png")


part = st.text("ab1.- ", min_size=1, max_size=4).filter(lambda text: text.strip(". "))
path = st.lists(part, min_size=1, max_size=3).map("/".join)


@given(st.lists(path, min_size=1, max_size=6))
def test_every_task_has_a_name_of_its_own_that_means_it(sources: list[str]) -> None:
    tasks = [(number, {"image": f"/x/_{number}", "source": s}) for number, s in enumerate(sources)]
    names = Names(tasks, "image")
    called = [names.get(number) for number, _ in tasks]
    assert len(set(called)) == len(called)
    for (number, _), name, source in zip(tasks, called, sources, strict=True):
        if sources.count(source) == 1:
            assert name == source
            assert names.find(name) == number


def test_a_whole_name_is_not_taken_for_anothers_flat_one() -> None:
    tasks = [(number, {"source": source}) for number, source in enumerate(["a", "1/a", "a."])]
    assert Names(tasks, "image").find("a") == 0


@given(st.text(max_size=20))
def test_a_flat_name_is_one_file(name: str) -> None:
    made = flatten(name)
    assert made and made not in (".", "..") and not set(made) & set('/\\<>:"|?*\0')
