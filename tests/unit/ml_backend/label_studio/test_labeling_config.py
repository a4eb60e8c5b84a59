"""Labeling configs, regions and the names of classes."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ml_backend
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.learners.kinds import choose_learner

CONFIGS = Path(ml_backend.__file__).parent / "label_studio" / "configs"
READY_MADE = {
    "mitosis": ("Mitotic cell", "Other"),
    "phases": ("Interphase", "Prophase", "Metaphase", "Anaphase", "Telophase"),
    "mitosis-stages": ("Mitotic cell", "Other"),
    "click": ("Mitotic cell", "Other"),
    "tetrads": ("Tetrad", "Triad", "Dyad", "Monad"),
    "spreads": ("Single chromosome", "Other"),
}
WIDTH, HEIGHT = 1300, 1030


def config(*controls: str, image: str = '<Image name="image" value="$image"/>') -> str:
    return f"<View>{image}{''.join(controls)}</View>"


def rectangles(*labels: str, name: str = "label", to: str = "image") -> str:
    tags = "".join(label if "<" in label else f'<Label value="{label}"/>' for label in labels)
    return f'<RectangleLabels name="{name}" toName="{to}">{tags}</RectangleLabels>'


def region(value: dict, labels: list[str] | None = None, **fields: object) -> dict:
    value = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, **value}
    if labels is not None:
        value["rectanglelabels"] = labels
    return {
        "id": "r",
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "value": value,
        **fields,
    }


@cache
def interface(label_config: str):
    from label_studio_sdk.label_interface import LabelInterface

    return LabelInterface(label_config)


def ready_made(name: str) -> str:
    return (CONFIGS / f"{name}.xml").read_text("utf-8")


# The ready-made configs.


@pytest.mark.parametrize("name", READY_MADE)
def test_ready_made_configs_are_valid_and_hold_their_classes(name: str) -> None:
    label_config = ready_made(name)
    interface(label_config).validate()
    labels = LabelingConfig.parse(label_config)
    assert labels.values == READY_MADE[name]
    assert labels.image_key == "image"
    assert labels.match_classes(READY_MADE[name]).unmatched == ()


@pytest.mark.parametrize("name", READY_MADE)
def test_ready_made_configs_have_controls_hotkeys_and_safe_colours(name: str) -> None:
    from xml.etree import ElementTree

    # Okabe and Ito's colours, which colour-blind people can tell apart, and a grey.
    safe = {"#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#999999"}
    root = ElementTree.fromstring(ready_made(name))
    (image,) = root.iter("Image")
    for control in ("zoom", "zoomControl", "brightnessControl", "contrastControl"):
        assert image.get(control) == "true"
    labels = list(root.iter("Label"))
    assert {label.get("background") for label in labels} <= safe
    for attribute in ("background", "hotkey"):
        assert len({label.get(attribute) for label in labels}) == len(labels)


# Configs as people write them.


def test_matching_ignores_case_follows_predicted_values_and_knows_aliases() -> None:
    labels = LabelingConfig.parse(
        config(
            rectangles(
                "MITOTIC CELL",
                '<Label value="Round" predicted_values="monad, Dyad"/>',
                '<Label value="Tetrad grains" alias="tetrads"/>',
            )
        )
    )
    matching = labels.match_classes(("Mitotic cell", "Monad", "Dyad", "Tetrad", "Other"))
    values = {name: value for name, (_, value) in matching.mapping.items()}
    assert values == {
        "Mitotic cell": "MITOTIC CELL",
        "Monad": "Round",
        "Dyad": "Round",
        "Tetrad": "tetrads",
    }
    assert matching.unmatched == ("Other",)


def test_the_nearest_name_wins_over_an_alias() -> None:
    labels = LabelingConfig.parse(config(rectangles("Mitosis", "chromosomes", "Mitotic cell")))
    mapping = labels.match_classes(("Chromosomes", "Mitotic figure")).mapping
    assert mapping["Chromosomes"][1] == "chromosomes"
    assert mapping["Mitotic figure"][1] == "Mitosis"


def test_several_rectangle_controls_share_the_classes() -> None:
    labels = LabelingConfig.parse(
        config(rectangles("Tetrad", name="a"), rectangles("Dyad", "Tetrad", name="b"))
    )
    mapping = labels.match_classes(("Tetrad", "Dyad")).mapping
    assert [(c.name, value) for c, value in mapping.values()] == [("a", "Tetrad"), ("b", "Dyad")]
    found, problems = labels.read_boxes(
        [
            region({}, ["Dyad"], id="1", from_name="b"),
            region({}, ["Tetrad"], id="2", from_name="a"),
        ],
        WIDTH,
        HEIGHT,
    )
    assert list(found.label) == ["Dyad", "Tetrad"] and problems == []


def test_the_image_is_the_one_that_the_rectangles_mark() -> None:
    images = '<Image name="map" value="$overview"/><Image name="image" value="$photo"/>'
    other = rectangles("Tetrad", name="other", to="map")
    labels = LabelingConfig.parse(config(rectangles("Tetrad"), other, image=images))
    assert labels.image_key == "photo"
    assert [control.name for control in labels.controls] == ["label"]


@pytest.mark.parametrize(
    "label_config",
    [
        "<View/>",
        config('<PolygonLabels name="p" toName="image"><Label value="a"/></PolygonLabels>'),
        config(rectangles("a", to="elsewhere")),
    ],
)
def test_a_config_without_rectangles_has_nothing_to_draw_with(label_config: str) -> None:
    labels = LabelingConfig.parse(label_config)
    assert labels.controls == () and labels.image_key == ""
    assert labels.match_classes(("Tetrad",)).unmatched == ("Tetrad",)
    assert (
        labels.write_regions(
            Boxes.from_rows([(0, 0, 9, 9, "Tetrad")]),
            width=10,
            height=10,
            matching=labels.match_classes(("Tetrad",)),
            version="v",
        )
        == []
    )


@pytest.mark.parametrize("label_config", ["", "<View>", "no xml", "<a>&b;</a>"])
def test_a_config_that_is_not_xml_is_one_clear_error(label_config: str) -> None:
    with pytest.raises(ValueError, match="not valid XML"):
        LabelingConfig.parse(label_config)


# Regions.

PAIR = config(
    '<Rectangle name="shape" toName="image"/>',
    '<Labels name="kind" toName="image">',
    '<Label value="Mitotic cell"/><Label value="Other"/></Labels>',
)
ROUND_TRIPS = [ready_made("mitosis"), PAIR]

coordinate = st.tuples(st.integers(0, 9_999), st.integers(1, 10_000)).filter(lambda p: p[0] < p[1])
rows = st.lists(
    st.builds(
        lambda x, y, label: (
            x[0] / 10_000 * WIDTH,
            y[0] / 10_000 * HEIGHT,
            x[1] / 10_000 * WIDTH,
            y[1] / 10_000 * HEIGHT,
            label,
        ),
        coordinate,
        coordinate,
        st.sampled_from(READY_MADE["mitosis"]),
    ),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(rows=rows, label_config=st.sampled_from(ROUND_TRIPS))
def test_boxes_come_back_from_regions_that_the_server_accepts(rows, label_config) -> None:
    labels, boxes = LabelingConfig.parse(label_config), Boxes.from_rows(rows)
    result = labels.write_regions(
        boxes,
        width=WIDTH,
        height=HEIGHT,
        matching=labels.match_classes(READY_MADE["mitosis"]),
        version="v1",
    )
    result = json.loads(json.dumps(result, allow_nan=False))
    checked = interface(label_config).validate_prediction({"result": result}, return_errors=True)
    assert checked == []
    found, problems = labels.read_boxes(result, WIDTH, HEIGHT)
    assert problems == []
    np.testing.assert_allclose(found.xyxy, boxes.xyxy, atol=1e-3)
    np.testing.assert_array_equal(found.label, boxes.label)


def test_regions_are_the_same_every_time_and_carry_their_score() -> None:
    labels = LabelingConfig.parse(ready_made("mitosis"))
    boxes = Boxes(
        np.array([[13, 103, 26, 206], [13, 103, 26, 206], [0, 0, 9, 9]]),
        np.array(["Chromosomes", "Chromosomes", "no label"]),
        np.array([0.9, 0.75, 0.5]),
    )

    def draw(version: str) -> list[dict]:
        matching = labels.match_classes(("Chromosomes", "no label"))
        return labels.write_regions(
            boxes, width=WIDTH, height=HEIGHT, matching=matching, version=version
        )

    result = draw("v1")
    assert result == draw("v1")
    assert len({region["id"] for region in (*result, *draw("v2"))}) == 4
    assert [region["score"] for region in result] == [0.9, 0.75]
    first = result[0]
    assert first["value"] == {
        "x": 1,
        "y": 10,
        "width": 1,
        "height": 10,
        "rotation": 0,
        "rectanglelabels": ["Mitotic cell"],
    }
    assert (first["original_width"], first["original_height"]) == (WIDTH, HEIGHT)


@settings(deadline=None)
@given(
    angle=st.floats(-720, 720),
    x=st.floats(30, 60),
    y=st.floats(30, 60),
    w=st.floats(1, 20),
    h=st.floats(1, 20),
)
def test_a_rotated_rectangle_becomes_the_box_around_it(angle, x, y, w, h) -> None:
    value = {"x": x, "y": y, "width": w, "height": h, "rotation": angle}
    # In the complex plane, a turn is a product.
    corner = complex(x * WIDTH, y * HEIGHT) / 100
    right, down = w * WIDTH / 100, 1j * h * HEIGHT / 100
    turn = np.exp(1j * np.deg2rad(angle))
    corners = corner + turn * np.array([0, right, down, right + down])
    expected = [corners.real.min(), corners.imag.min(), corners.real.max(), corners.imag.max()]
    expected = np.clip(expected, 0, [WIDTH, HEIGHT] * 2)
    labels = LabelingConfig.parse(ready_made("mitosis"))
    found, problems = labels.read_boxes([region(value, ["Other"])], WIDTH, HEIGHT)
    assert any("is turned by" in problem for problem in problems) == (angle % 360 != 0)
    np.testing.assert_allclose(found.xyxy[0], expected, atol=1e-2)


def test_a_quarter_turn_is_about_the_top_left_corner() -> None:
    labels = LabelingConfig.parse(ready_made("mitosis"))
    turned = region({"x": 50, "y": 50, "width": 10, "height": 20, "rotation": 90}, ["Other"])
    found, _ = labels.read_boxes([turned], 200, 100)
    # 20 × 20 px from (100, 50), turned clockwise: to the left of its corner.
    np.testing.assert_allclose(found.xyxy, [[80, 50, 100, 70]], atol=1e-4)


def test_what_reaches_beyond_the_image_is_clipped() -> None:
    labels = LabelingConfig.parse(ready_made("mitosis"))
    wide = region({"x": -10, "y": 90, "width": 60, "height": 30}, ["Other"])
    found, problems = labels.read_boxes([wide], 100, 100)
    np.testing.assert_allclose(found.xyxy, [[0, 90, 50, 100]])
    assert problems == ["region r reaches beyond the image: only what lies inside"]
    rounded = region({"x": 89.9999999, "y": 0, "width": 10.0000002, "height": 50}, ["Other"])
    assert labels.read_boxes([rounded], 100, 100)[1] == []


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        (region({"width": 0}, ["Other"]), "no area"),
        (region({"x": 120}, ["Other"]), "no area"),
        (region({"x": "left"}, ["Other"]), "no readable place"),
        (region({"height": None}, ["Other"]), "no readable place"),
        (region({"y": float("nan")}, ["Other"]), "no readable place"),
        (region({}, ["Cat"]), "no label Cat"),
        (region({}, []), "has no label"),
        (region({}), "has no label"),
        (region({}, ["Other"], from_name="elsewhere"), "rectanglelabels: not a rectangle"),
        ({"type": "polygonlabels", "from_name": "p", "value": {"points": []}}, "polygonlabels"),
        ({"type": "relation", "from_id": "a", "to_id": "b"}, "relation"),
        ({}, "not a rectangle"),
    ],
)
def test_what_cannot_be_taken_over_is_told_and_harms_nothing_else(item: dict, problem: str) -> None:
    labels = LabelingConfig.parse(ready_made("mitosis"))
    found, problems = labels.read_boxes(
        [{**item, "id": "bad"}, region({}, ["Other"], id="good")], WIDTH, HEIGHT
    )
    assert list(found.label) == ["Other"]
    assert len(problems) == 1 and problem in problems[0]


def test_several_labels_on_a_region_are_a_box_each() -> None:
    labels = LabelingConfig.parse(ready_made("mitosis"))
    found, problems = labels.read_boxes([region({}, ["Other", "Mitotic cell"])], WIDTH, HEIGHT)
    assert list(found.label) == ["Other", "Mitotic cell"] and problems == []
    np.testing.assert_array_equal(found.xyxy[0], found.xyxy[1])


def test_reading_a_config_loads_no_sdk() -> None:
    """The server must answer /setup at once: label_studio_sdk's interface takes a second."""
    room = "ml_backend.label_studio.labeling_config"
    script = f"import sys, {room}; print('label_studio_sdk' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert loaded.stdout.strip() == "False"


CHOICES = config(
    '<Choices name="kind" toName="image" choice="multiple">'
    '<Choice value="Chromosomes"/><Choice value="rest" alias="Others"/></Choices>'
    '<Choices name="stage" toName="image" perRegion="true"><Choice value="Early"/></Choices>'
    + rectangles("Mitotic cell")
)


def test_choices_of_the_image_and_of_regions_are_told_apart() -> None:
    labels = LabelingConfig.parse(CHOICES)
    assert [control.name for control in labels.image_choices] == ["kind"]
    assert labels.image_choices[0].several and labels.choices[1].per_region
    assert labels.choice_values == ("Chromosomes", "Others")
    assert LabelingConfig.parse(config('<Choices name="c" toName="image"/>')).image_key == "image"


def test_choices_come_back_as_they_were_written() -> None:
    labels = LabelingConfig.parse(CHOICES)
    matching = labels.match_choices(("mitosis", "Other", "Unknown"))
    assert matching.unmatched == ("Unknown",)
    chosen = {"Other": 0.7, "mitosis": 0.9, "Unknown": 1.0}
    (answer,) = labels.write_choices(chosen, matching=matching, version="1-v1")
    assert answer["value"] == {"choices": ["Others", "Chromosomes"]} and answer["score"] == 0.7
    assert labels.read_choices([answer]) == ("Others", "Chromosomes")
    assert labels.read_choices([]) is None
    # The same answer has the same id, another one another.
    assert labels.write_choices(chosen, matching=matching, version="1-v1") == [answer]
    (other,) = labels.write_choices({"Other": 0.7}, matching=matching, version="1-v1")
    assert other["id"] != answer["id"]


def test_a_region_keeps_what_was_chosen_for_it() -> None:
    labels = LabelingConfig.parse(CHOICES)
    boxes = Boxes.from_rows([(10, 10, 20, 20, "Mitotic cell"), (30, 30, 50, 50, "Mitotic cell")])
    result = labels.write_regions(
        boxes,
        width=100,
        height=100,
        matching=labels.match_classes(("Mitotic cell",)),
        version="x",
        chosen=[{"Late": 0.9}, {"early": 0.75}],
        choice_matching=labels.match_region_choices(("early", "Late")),
    )
    checked = interface(CHOICES).validate_prediction({"result": result}, return_errors=True)
    assert checked == []
    plain, chosen, choice = result  # the config has no choice that says Late
    assert choice["id"] == chosen["id"] != plain["id"]
    assert choice["from_name"] == "stage" and choice["score"] == 0.75
    shape = {key: side for key, side in chosen["value"].items() if key != "rectanglelabels"}
    assert choice["value"] == {**shape, "choices": ["Early"]}
    regions, problems = labels.read_regions(result, 100, 100)
    assert [region.choices for region in regions] == [(), ("Early",)] and not problems
    choice["value"]["choices"] = ["Early", "Never"]
    regions, problems = labels.read_regions(result, 100, 100)
    assert regions[1].choices == ("Early",) and "no choice Never" in problems[0]


def test_stages_are_chosen_by_keys_that_the_labels_leave_free() -> None:
    labels = LabelingConfig.parse(ready_made("mitosis-stages"))
    (control,) = labels.region_choices
    root = ElementTree.fromstring(ready_made("mitosis-stages"))
    keys = [tag.get("hotkey") for kind in ("Label", "Choice") for tag in root.iter(kind)]
    assert keys == list("123456789") and len(control.labels) == 7
    learner = choose_learner(labels)
    assert learner is not None and learner.kind == "detector_classifier"


@pytest.mark.parametrize("name", ["images", "stages", "shapes", "adviser"])
def test_ready_made_choices_are_valid_and_quick_to_make(name: str) -> None:
    labels = LabelingConfig.parse(ready_made(name))
    (control,) = labels.image_choices
    assert not labels.controls and control.several == (name == "adviser")
    interface(ready_made(name)).validate()
    keys = ElementTree.fromstring(ready_made(name)).iter("Choice")
    hotkeys = [choice.get("hotkey") for choice in keys]
    assert hotkeys == [str(number) for number in range(1, len(control.labels) + 1)]
    learner = choose_learner(labels)
    assert learner is not None and learner.kind == "classifier"
