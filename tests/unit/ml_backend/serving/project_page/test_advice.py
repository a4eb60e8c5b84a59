"""Failures that the program really tells, in words that say what to do."""

from __future__ import annotations

import pytest

from ml_backend.imaging.decode import UnreadableImage, decode
from ml_backend.serving.preannotation import QUEUED
from ml_backend.serving.project_page.advice import explain, explain_training, join_failures
from ml_backend.serving.publish import TOO_SLOW

UNKNOWN = explain("the moon is full")


def read_reason(content: bytes) -> str:
    with pytest.raises(UnreadableImage) as caught:
        decode(content)
    return str(caught.value)


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        (read_reason(b""), "Export the image again"),
        (read_reason(b"no image"), "Export the image again"),
        (QUEUED, "tried again by itself"),
        (TOO_SLOW, "tried again by itself"),
        (
            "https://a.b/x: images may not come from a.b; add it to CYTOLOOP_ALLOWED_IMAGE_HOSTS",
            "CYTOLOOP_ALLOWED_IMAGE_HOSTS",
        ),
        ("Label Studio at http://x refuses the token (expired); make a new", "cytoloop connect"),
        ("Label Studio at http://x does not answer (refused)", "asked again by itself"),
        ("[Errno 28] No space left on device", "Make room"),
        ("http://x/a.png answered HTTP 404", "Put the file back"),
        ("the model failed on this image: shape", "delete its task"),
        ("the task has no image in its field 'image'", "labeling config"),
    ],
)
def test_each_says_what_to_do(reason: str, remedy: str) -> None:
    failure = explain(reason)
    assert remedy in failure.remedy and failure.detail == reason and failure.what != UNKNOWN.what


def test_what_has_no_words_still_says_where_to_look() -> None:
    assert "doctor" in UNKNOWN.remedy and UNKNOWN.detail == "the moon is full"


@pytest.mark.parametrize(
    "outcome",
    [
        "project 1 has no corrected training task yet; correct some whose 'split' is 'train'",
        "none of the 3 corrected training tasks of project 1 has a mark of a headline class; "
        "mark some and try again",
        "the labels of project 1 mark and choose nothing that can be learned; add RectangleLabels",
    ],
)
def test_a_training_without_a_version_is_explained(outcome: str) -> None:
    failure = explain_training(outcome)
    assert failure is not None and failure.what.startswith("The last training made no version.")


def test_a_training_that_went_well_is_no_failure() -> None:
    for outcome in ("mean F1 rose from 0.61 to 0.70 on 40 tasks", "1-v1-a is the champion already"):
        assert explain_training(outcome) is None


def test_the_same_failure_of_many_tasks_is_told_once() -> None:
    joined = join_failures([explain("HTTP 404", (3, 1)), explain("HTTP 404 too", (2,)), UNKNOWN])
    assert [failure.tasks for failure in joined] == [(1, 2, 3), ()]
    assert joined[0].detail == "HTTP 404"
