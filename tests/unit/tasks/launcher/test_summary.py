"""What `cytoloop up` prints when everything runs."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from ml_backend.label_studio.client import StudioProject
from ml_backend.label_studio.installation import Account
from ml_backend.serving.connect import ConnectedProject
from ml_backend.settings import Settings
from tasks.launcher.import_images import ImportResult
from tasks.launcher.summary import render_summary

BOXES = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="Mitotic cell"/></RectangleLabels></View>'
)
CHOICES = (
    '<View><Image name="image" value="$image"/><Choices name="class" toName="image">'
    '<Choice value="A"/></Choices></View>'
)


def print_summary(
    folder: Path,
    result: ImportResult,
    *,
    trained: bool,
    labels: str = BOXES,
    tasks: int = 2,
    chosen: tuple[str, ...] = (),
) -> str:
    project = StudioProject(3, "Cells", labels, "v1", 0.0, tasks)
    connection = ConnectedProject(
        project, "http://backend", "v1", trained, ("Mitotic cell",), (), (), chosen
    )
    summary = render_summary(
        connection,
        result,
        address="http://studio/projects/3/data",
        account=Account("me@here", "pass[word]", "token"),
        settings=Settings(data_dir=folder),
        origin="",
        left_out=[("task 7", "its image [is] gone")],
    )
    console = Console(width=200)
    with console.capture() as capture:
        console.print(summary)
    return capture.get()


def test_brackets_in_names_and_passwords_are_printed_as_they_are(tmp_path: Path) -> None:
    result = ImportResult(new=1, unreadable=(("a[1].png", "it is no image"),))
    text = print_summary(tmp_path, result, trained=True)
    assert "http://studio/projects/3/data" in text and "pass[word]" in text
    assert "1 image imported." in text
    assert "1 could not be read:" in text and "a[1].png: it is no image" in text
    assert "1 could not be pre-annotated:" in text and "task 7: its image [is] gone" in text


def test_five_unreadable_images_are_named_and_all_are_counted(tmp_path: Path) -> None:
    images = tuple((f"{number}.png", "it is empty") for number in range(8))
    text = print_summary(tmp_path, ImportResult(unreadable=images), trained=True)
    assert "8 could not be read:" in text and text.count("it is empty") == 5 and "..." in text


def test_only_a_project_with_a_version_is_told_of_boxes(tmp_path: Path) -> None:
    trained, untrained = (
        print_summary(tmp_path, ImportResult(), trained=trained) for trained in (True, False)
    )
    assert "correct its boxes" in trained and "blind" in trained
    assert "box its cells" in untrained and "blind" not in untrained


def test_where_each_box_has_a_choice_both_are_asked_for(tmp_path: Path) -> None:
    labels = BOXES.replace(
        "</View>",
        '<Choices name="stage" toName="image" perRegion="true"><Choice value="A"/></Choices>'
        "</View>",
    )
    trained, untrained = (
        print_summary(tmp_path, ImportResult(), trained=trained, labels=labels, chosen=("A", "B"))
        for trained in (True, False)
    )
    assert "v1 boxes: Mitotic cell, and chooses for each: A, B." in trained
    assert "correct its boxes and what is chosen of each" in trained
    assert "box its cells and choose for each what it is" in untrained


def test_where_classes_are_chosen_nothing_is_said_of_boxes(tmp_path: Path) -> None:
    trained, untrained = (
        print_summary(tmp_path, ImportResult(), trained=trained, labels=CHOICES)
        for trained in (True, False)
    )
    assert "check its choice" in trained and "v1 chooses:" in trained
    assert "choose its class" in untrained and "box" not in trained + untrained


def test_the_training_begins_by_itself_only_where_there_are_tasks_enough(tmp_path: Path) -> None:
    few, many = (
        print_summary(tmp_path, ImportResult(new=new), trained=True) for new in (17, 18)
    )  # beside the two that the project holds
    assert "17 images imported." in few
    assert "To have a better version trained, press Start training" in few
    assert "After 20 corrected tasks a better version is trained; for one sooner, press" in many


def test_an_empty_project_is_to_be_filled(tmp_path: Path) -> None:
    text = print_summary(tmp_path, ImportResult(), trained=True, tasks=0)
    assert "The project is empty" in text and "scan FOLDER --project 3" in text
    assert "imported" not in text and "Open the first task" not in text
