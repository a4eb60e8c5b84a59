"""Questions of the second look in a real browser: is the place shown, and is one key an answer?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import pytest

from ml_backend.evaluation.label_quality.label_issues import LabelIssue
from ml_backend.promotion.second_look import Finding
from ml_backend.retraining.second_look_tasks import SUGGESTED, open_project, send_questions
from tests.conftest import RunningStudio
from tests.e2e.test_labeling_screen import a_field


def ask_next(page: Any, studio: RunningStudio, project: int, words: str) -> None:
    """Open the stream of questions, and wait until the next one is there with its picture."""
    page.get_by_text(words).first.wait_for()
    page.wait_for_function(
        "() => [...document.querySelectorAll('img')].some("
        "img => img.complete && img.naturalWidth === 480)"  # the side of the pictures
    )
    page.wait_for_function(
        "() => window.Htx?.annotationStore?.selected?.results?.some("
        f"result => JSON.stringify(result.value)?.includes('{SUGGESTED}'))"
    )
    page.wait_for_timeout(500)


@pytest.mark.timeout(200)
def test_submit_and_skip_are_the_two_answers(
    page: Any,
    label_studio: RunningStudio,
    tmp_path: Path,
) -> None:
    pixels = a_field()
    cv2.imwrite(str(tmp_path / "a.png"), pixels[..., ::-1])
    height, width = pixels.shape[:2]
    place = (0.4 * width, 0.4 * height, 0.5 * width, 0.5 * height)
    findings = [
        Finding(11, 1, "x", "a.png", (width, height), issue)
        for issue in (
            LabelIssue("overlooked", 0.1, "", "Mitotic cell", 0.93, None, place),
            LabelIssue("swapped", 0.2, "Other", "Mitotic cell", 0.8, place, place),
        )
    ]
    studio = label_studio.studio
    project = open_project(studio, "Asked in the browser")
    assert send_questions(studio, project, findings, tmp_path) == (2, [])
    page.goto(f"{label_studio.url}/projects/{project}/data?labeling=1", wait_until="commit")
    ask_next(page, label_studio, project, "missed here?")
    page.keyboard.press("Control+Enter")
    ask_next(page, label_studio, project, "marked Other")
    page.keyboard.press("Control+Space")
    page.get_by_text("marked Other").first.wait_for(state="hidden")
    answered = {
        task["data"]["question"].split(": ")[1][:6]: task["annotations"]
        for task in studio.list_annotated_or_skipped_tasks(project)
    }
    (submitted,), (skipped,) = answered["missed"], answered["marked"]
    assert submitted["result"][0]["value"]["choices"] == [SUGGESTED]
    assert skipped["was_cancelled"] and not submitted["was_cancelled"]
