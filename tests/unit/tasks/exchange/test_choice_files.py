"""Files of choices come back as they were written."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.exchange.choice_files import (
    ClassifiedImage,
    is_choice_file,
    read_choices,
    write_choices,
)

names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)


@st.composite
def images(draw: st.DrawFn) -> tuple[list[str], list[ClassifiedImage]]:
    # In one cell, "; " stands between two classes.
    classes = draw(st.lists(names.filter(lambda n: ";" not in n), min_size=1, unique=True))
    rows = []
    for source in draw(st.lists(names, unique=True, max_size=4)):
        chances = {name: round(draw(st.floats(0, 1)), 4) for name in classes}
        chosen = draw(st.lists(st.sampled_from(classes), unique=True))
        rows.append(ClassifiedImage(source, draw(st.integers(0, 99)), tuple(chosen), chances))
    return classes, rows


@given(images(), st.sampled_from([".csv", ".json"]))
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    written: tuple[list[str], list[ClassifiedImage]],
    ending: str,
) -> None:
    classes, rows = written
    out = tmp_path_factory.mktemp("choices") / f"out{ending}"
    with write_choices(out, classes) as add:
        for row in rows:
            add(row)
    assert read_choices(out) == rows
    assert is_choice_file(out) == (ending == ".csv" or bool(rows))


def test_a_table_has_a_column_for_each_class_and_no_formula(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with write_choices(out, ["A", "=B"]) as add:
        add(ClassifiedImage("-x.png", 0, ("=B", "A"), {"A": 0.6, "=B": 0.75}))
    with out.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row == {
        "image": "'-x.png", "plane": "0", "class": "'=B; A", "confidence": "0.6",
        "p(A)": "0.6", "p(=B)": "0.75",
    }  # fmt: skip
    assert read_choices(out)[0].chosen == ("=B", "A")


@pytest.mark.parametrize(
    "content",
    ["{", "[1]", '[{"image": "a"}]', '[{"image": "a", "plane": 0, "classes": ["B"], '
     '"confidence": 1, "probabilities": {"A": 1}}]', '[{"image": "a", "plane": 0, "classes": [], '
     '"confidence": 1, "probabilities": {"A": 7}}]'],
)  # fmt: skip
def test_what_is_no_such_file_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "out.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match="is not a file that cytoloop detect wrote"):
        read_choices(path)
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_choices(tmp_path / "none.json")


def test_boxes_are_no_choices(tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps([{"source": "a", "x1": 1}]), encoding="utf-8")
    assert not is_choice_file(path) and not is_choice_file(tmp_path / "none.csv")
