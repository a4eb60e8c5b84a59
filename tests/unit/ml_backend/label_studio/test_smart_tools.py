"""What an annotator drew with a smart tool, as the editor sends it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.label_studio.smart_tools import Prompt, read_prompt

SIZE = (400, 200)


def point(x: Any = 25.0, y: Any = 50.0, **fields: Any) -> dict[str, Any]:
    """As Label Studio 1.23's editor writes a smart keypoint."""
    return {
        "original_width": 400, "original_height": 200, "image_rotation": 0, "id": "p1",
        "value": {"x": x, "y": y, "width": 0.3, "keypointlabels": ["Cell"]},
        "is_positive": True, "from_name": "click", "to_name": "image",
        "type": "keypointlabels", "origin": "manual", **fields,
    }  # fmt: skip


def test_a_click_has_a_place_in_pixels_and_a_label() -> None:
    prompt = read_prompt({"result": [point()]}, SIZE)
    assert prompt == Prompt("p1", (100, 100, 100, 100), ("Cell",)) and prompt.is_click


def test_a_loose_box_is_clipped_to_the_image() -> None:
    value = {"x": 50, "y": 10, "width": 60, "height": 20, "rectanglelabels": ["Other"]}
    item = {"id": "r", "type": "rectanglelabels", "from_name": "label", "value": value}
    prompt = read_prompt({"result": [item]}, SIZE)
    assert prompt == Prompt("r", (200, 20, 400, 60), ("Other",)) and not prompt.is_click


def test_the_label_of_a_plain_rectangle_is_an_item_of_its_own() -> None:
    shape = {"x": 0, "y": 0, "width": 50, "height": 50}
    result = [
        {"id": "r", "type": "rectangle", "value": shape},
        {"id": "r", "type": "labels", "value": {**shape, "labels": ["Bird"]}},
        {"id": "other", "type": "labels", "value": {"labels": ["Tree"]}},
    ]
    prompt = read_prompt({"result": result}, SIZE)
    assert prompt is not None and prompt.labels == ("Bird",)


def test_of_several_the_last_counts() -> None:
    context = {"result": [point(10, 10, id="first"), point(20, 30, id="last")]}
    prompt = read_prompt(context, SIZE)
    assert prompt is not None and prompt.id == "last" and prompt.box[:2] == (80, 60)


@pytest.mark.parametrize(
    "context",
    [
        None, {}, [], {"result": None}, {"result": [3]}, {"result": [point(is_positive=False)]},
        {"result": [point(x="much")]}, {"result": [point(x=float("nan"))]},
        {"result": [point(x=10**400)]}, {"result": [point(y=None)]}, {"result": [point(value=7)]},
        {"result": [{"type": "brushlabels", "value": {"rle": [1]}}]},
    ],
)  # fmt: skip
def test_what_no_box_can_be_fitted_to_is_nothing(context: Any) -> None:
    assert read_prompt(context, SIZE) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["result", "value", "type", "x", "y", "width", "keypointlabels", "id"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(json_values)
def test_anything_is_read_without_an_error(context: Any) -> None:
    prompt = read_prompt(context, SIZE)
    assert prompt is None or 0 <= prompt.box[0] <= 400


@pytest.mark.parametrize(
    ("tag", "smart"),
    [
        ('<KeyPointLabels name="k" toName="i" smart="true"><Label value="a"/></KeyPointLabels>', 1),
        ('<KeyPoint name="k" toName="i" smartOnly="true"/>', 1),
        ('<KeyPointLabels name="k" toName="i"><Label value="a"/></KeyPointLabels>', 0),
        ('<KeyPointLabels name="k" toName="j" smart="true"><Label value="a"/></KeyPointLabels>', 0),
        ('<BrushLabels name="k" toName="i" smart="true"><Label value="a"/></BrushLabels>', 0),
    ],
)
def test_labels_say_whether_a_tool_is_smart(tag: str, smart: int) -> None:
    text = f"""<View><Image name="i" value="$i"/><Image name="j" value="$j"/>
    <RectangleLabels name="r" toName="i"><Label value="a"/></RectangleLabels>{tag}</View>"""
    assert LabelingConfig.parse(text).smart == bool(smart)
