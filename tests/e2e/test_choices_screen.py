"""Choices in a real browser: they come chosen, one key corrects them, and that is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import cv2
import pytest

from ml_backend.dataset.consensus import collect_submissions
from ml_backend.dataset.corrections import find_shown_regions, read_corrections
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.retraining.annotators import measure_annotators
from tests.conftest import RunningStudio
from tests.e2e.test_labeling_screen import VERSION, a_field, frame, predictions_of
from tests.integration.test_annotators import sign_up

Region = list[dict[str, Any]]
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


def press_until_changed(page: Any, key: str, state: str) -> None:
    """Press a key until what a script tells is another: keys are heard a little after the text."""
    before = page.evaluate(f"JSON.stringify(({state})())")
    for _ in range(10):
        page.keyboard.press(key)
        try:
            changed = f"before => JSON.stringify(({state})()) !== before"
            page.wait_for_function(changed, arg=before, timeout=3000)
            return
        except sync_api.TimeoutError:
            continue
    raise AssertionError(f"the key {key} changes nothing")


@dataclass(frozen=True)
class Asked:
    """A project with one task, and what was shown in advance."""

    project: int
    task: int
    prediction: int
    config: LabelingConfig


def show(studio: RunningStudio, labels: str, draw: Callable[[LabelingConfig], Region]) -> Asked:
    """A project with ready labels and one image, and its pre-annotation."""
    text = (files("ml_backend.label_studio.configs") / f"{labels}.xml").read_text(encoding="utf-8")
    config = LabelingConfig.parse(text)
    project = studio.studio.create_project("Choices screen", text).id
    folder = studio.media / str(project)
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "field.png"), a_field()[..., ::-1])
    studio.studio.add_media_folder(project, folder)
    address = f"/data/local-files/?d={project}/field.png"
    (task,) = studio.studio.import_tasks(project, [{"data": {"image": address}}])
    studio.studio.import_predictions(project, text, [(task, VERSION, 0.8, draw(config))])
    assert studio.studio.set_model_version(project, VERSION)
    prediction = predictions_of(studio.studio, project)[0]["id"]
    return Asked(project, task, prediction, config)


def ask(studio: RunningStudio, labels: str, shown: list[str]) -> Asked:
    """A project whose one image has these choices in advance."""
    return show(
        studio,
        labels,
        lambda config: config.write_choices(
            dict.fromkeys(shown, 0.8), matching=config.match_choices(shown), version=VERSION
        ),
    )


# What the screen would store now, and of that the choices.
HELD = "(window.Htx?.annotationStore?.selected?.serializeAnnotation() ?? [])"
CHOSEN = f"() => {HELD}.flatMap(item => item.value.choices ?? [])"


def open_and_wait(page: Any, studio: RunningStudio, asked: Asked, choices: int) -> None:
    """Label as *Label All Tasks* does, until so many choices are chosen."""
    page.goto(f"{studio.url}/projects/{asked.project}/data?labeling=1", wait_until="commit")
    # The screen makes its annotation of the prediction, at times twice while it loads.
    page.wait_for_load_state("networkidle")
    page.wait_for_function(f"count => ({CHOSEN})().length === count", arg=choices)


def press_submit(page: Any) -> None:
    with page.expect_response(lambda reply: "/annotations" in reply.url) as answer:
        page.get_by_test_id("bottombar-submit-button").click()
    assert answer.value.status == 201


def submit_by_keys(
    page: Any,
    studio: RunningStudio,
    asked: Asked,
    shown: list[str],
    keys: str,
    submitted: set[str],
) -> None:
    """See what is chosen, press keys until it is right, and submit."""
    open_and_wait(page, studio, asked, len(shown))
    assert set(page.evaluate(CHOSEN)) == set(shown)
    page.get_by_text(shown[0]).first.wait_for()
    for key in keys:
        press_until_changed(page, key, CHOSEN)
    assert set(page.evaluate(CHOSEN)) == submitted
    press_submit(page)


@pytest.mark.parametrize(
    ("labels", "shown", "keys", "submitted", "change"),
    [
        ("images", ["Chromosomes"], "2", {"Others"}, "relabelled"),
        (
            "adviser",
            ["Overdigested", "Debris"],
            "96",
            {"Overdigested", "Out of focus"},
            "relabelled",
        ),
        ("adviser", ["Too bright"], "", {"Too bright"}, "kept"),
    ],
)
def test_choices_come_chosen_are_corrected_by_keys_and_counted(
    page: Any,
    label_studio: RunningStudio,
    labels: str,
    shown: list[str],
    keys: str,
    submitted: set[str],
    change: str,
) -> None:
    asked = ask(label_studio, labels, shown)
    submit_by_keys(page, label_studio, asked, shown, keys, submitted)

    (found,) = label_studio.studio.list_annotated_tasks(asked.project)
    (annotation,) = found["annotations"]
    assert annotation["parent_prediction"] == asked.prediction
    assert set(asked.config.read_choices(annotation["result"]) or ()) == submitted
    (correction,), from_nothing = read_corrections(found, find_shown_regions(found), asked.config)
    assert [edit.change for edit in correction.edits] == [change] and from_nothing == 0


def test_the_stage_of_a_box_comes_chosen_and_is_corrected_by_a_key(
    page: Any,
    label_studio: RunningStudio,
) -> None:
    """Two boxes with a stage each; that of one is changed, and nothing else is."""
    height, width = a_field().shape[:2]
    places = [(0.1, 0.15, 0.3, 0.4), (0.55, 0.5, 0.8, 0.8)]
    boxes = Boxes.from_rows(
        (x1 * width, y1 * height, x2 * width, y2 * height, "Mitotic cell", 0.8)
        for x1, y1, x2, y2 in places
    )
    asked = show(
        label_studio,
        "mitosis-stages",
        lambda config: config.write_regions(
            boxes,
            width=width,
            height=height,
            matching=config.match_classes(("Mitotic cell",)),
            version=VERSION,
            chosen=[{"Metaphase": 0.9}, {"Metaphase": 0.6}],
            choice_matching=config.match_region_choices(("Metaphase", "Anaphase")),
        ),
    )
    open_and_wait(page, label_studio, asked, 2)
    page.locator(".konvajs-content canvas").first.wait_for()
    page.wait_for_timeout(1000)  # the canvas takes its size in the frames after
    left, top, across, down = frame(page)
    x1, y1, x2, y2 = places[1]
    for _ in range(10):  # until the canvas hears the click: then the region is selected
        page.mouse.click(left + (x1 + x2) / 2 * across, top + (y1 + y2) / 2 * down)
        try:
            page.get_by_text("Anaphase", exact=False).first.wait_for(timeout=3000)
            break
        except sync_api.TimeoutError:
            continue
    press_until_changed(page, "6", CHOSEN)
    assert sorted(page.evaluate(CHOSEN)) == ["Anaphase", "Metaphase"]
    press_submit(page)

    (found,) = label_studio.studio.list_annotated_tasks(asked.project)
    (correction,), from_nothing = read_corrections(found, find_shown_regions(found), asked.config)
    assert sorted((edit.change, edit.label) for edit in correction.edits) == [
        ("kept", "Mitotic cell (Metaphase)"),
        ("relabelled", "Mitotic cell (Metaphase)"),
    ]
    assert from_nothing == 0


def test_two_annotators_who_disagree_on_the_same_screen(
    page: Any,
    label_studio: RunningStudio,
) -> None:
    """Both see what the model chose; one keeps it, one does not: the task is disputed."""
    asked = ask(label_studio, "images", ["Chromosomes"])
    label_studio.studio.set_annotations(asked.project, 2)
    submit_by_keys(page, label_studio, asked, ["Chromosomes"], "", {"Chromosomes"})
    with sign_up(label_studio, "second-screen") as person:
        cookies = [
            {"name": cookie.name, "value": cookie.value or "", "url": label_studio.url}
            for cookie in person.cookies.jar
        ]
        context = page.context.browser.new_context(viewport={"width": 1500, "height": 950})
        context.add_cookies(cookies)
        other = context.new_page()
        other.set_default_timeout(60_000)
        submit_by_keys(other, label_studio, asked, ["Chromosomes"], "2", {"Others"})
        context.close()

    (found,) = label_studio.studio.list_annotated_tasks(asked.project)
    assert len({held["completed_by"] for held in found["annotations"]}) == 2
    measured = measure_annotators(collect_submissions([found]), asked.config)
    (disputed,) = measured["disputed"]
    assert disputed["task"] == asked.task and disputed["tie"]
