"""What Label Studio shows before labelling."""

from __future__ import annotations

from importlib.resources import files

import pytest

from ml_backend.label_studio.instructions import write_instructions
from ml_backend.label_studio.labeling_config import LabelingConfig

CONFIGS = files("ml_backend.label_studio.configs")


@pytest.mark.parametrize(
    ("name", "words"), [("mitosis", "Draw all of them"), ("images", "Choose for all of them")]
)
def test_a_few_lines_say_what_to_do_what_the_columns_mean_and_how_to_undo(
    name: str, words: str
) -> None:
    labels = LabelingConfig.parse((CONFIGS / f"{name}.xml").read_text(encoding="utf-8"))
    text = write_instructions(labels)
    lines = text.split("<br><br>")
    assert len(lines) == 5 and [line[:3] for line in lines] == [f"{n}. " for n in range(1, 6)]
    for said in ("<b>split</b>", "<b>blind</b>", "<b>Undo</b>", "<b>Submit</b>", words):
        assert said in text
    first = [*labels.controls, *labels.choices][0].labels[0].value
    assert f"<b>{first}</b>" in text


def test_where_something_is_chosen_of_each_box_that_is_said() -> None:
    spreads, mitosis = (
        write_instructions(LabelingConfig.parse((CONFIGS / name).read_text(encoding="utf-8")))
        for name in ("spreads.xml", "mitosis.xml")
    )
    assert "choose <b>A</b>, <b>B</b>, <b>C</b>." in spreads and "choose" not in mitosis


def test_names_of_labels_are_text_and_no_html() -> None:
    config = (
        '<View><Image name="i" value="$i"/><RectangleLabels name="l" toName="i">'
        '<Label value="&lt;script&gt;"/></RectangleLabels></View>'
    )
    text = write_instructions(LabelingConfig.parse(config))
    assert "&lt;script&gt;" in text and "<script>" not in text
