"""The pages in a real browser, beside a real Label Studio: what is decided there is what its own
labeling screen would have stored, and every page can be read by everybody."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from werkzeug.serving import make_server

from ml_backend.demo.synthetic_images import generate_field
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.people import Person
from ml_backend.learners.model_file import FILE_NAME
from ml_backend.registry.versions import Registry
from ml_backend.serving.app import create_app
from ml_backend.settings import Settings
from ml_backend.state.login_links import make_link_secret
from ml_backend.state.projects import Project, Projects
from ml_backend.state.training_progress import tell_progress
from tests.conftest import RunningStudio
from tests.e2e.test_choices_screen import press_until_changed
from tests.e2e.test_labeling_screen import region

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

BOXES = [
    (10.0, 15.0, 20.0, 20.0, 0.87),
    (40.0, 50.0, 20.0, 20.0, 0.42),
    (70.0, 20.0, 20.0, 20.0, 0.6),
]
TASKS = 12  # each test takes its own, another try of it as well
# What a version is judged by, so that curve, calibration and matrix are shown.
JUDGED: dict[str, Any] = {
    "figures": {
        "f1": 0.7, "f1_interval": [0.6, 0.8], "images": 20, "groups": 9,
        "confusion": {
            "Mitotic cell": {"Mitotic cell": 19, "missed": 3},
            "background": {"Mitotic cell": 5, "missed": 0},
        },
        "calibration": {"error": 0.05, "bins": [
            {"low": 0.5, "high": 0.6, "boxes": 10, "confidence": 0.55, "right": 0.5},
            {"low": 0.9, "high": 1.0, "boxes": 14, "confidence": 0.95, "right": 0.9},
        ]},
    },
    "decision": {"promoted": False, "reasons": ["not better"], "champion_f1": 0.8},
}  # fmt: skip
# What may differ between two annotations of two tasks that say the same.
IDS_AND_TIMES = {
    "id", "task", "parent_prediction", "created_at", "updated_at", "created_ago", "lead_time",
    "completed_by", "updated_by", "created_username",
}  # fmt: skip


@dataclass
class Pages:
    """The pages of one project, served over its Label Studio."""

    url: str
    settings: Settings
    studio: Studio
    project: int
    tasks: list[int]
    version: str

    def make_link(self, person: Person, path: str) -> str:
        secret = make_link_secret(self.settings.login_links, person)
        return f"{self.url}/login?link={secret}&next={path}"

    def take_task(self) -> int:
        """A task that no test has touched."""
        return self.tasks.pop()

    def annotations(self, task: int) -> list[dict[str, Any]]:
        return next(self.studio.list_tasks(self.project, ids=[task]))["annotations"]


@pytest.fixture(scope="module")
def pages(
    label_studio: RunningStudio, starter_versions: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pages]:
    studio = label_studio.studio
    labels = (files("ml_backend.label_studio.configs") / "mitosis.xml").read_text(encoding="utf-8")
    project = studio.create_project("Pages", labels).id
    folder = label_studio.media / str(project)
    folder.mkdir(parents=True)
    pixels = generate_field(np.random.default_rng(1), size=(520, 390), dividing=1)[0]
    cv2.imwrite(str(folder / "field.png"), pixels[..., ::-1])
    studio.add_media_folder(project, folder)
    data = {"image": f"/data/local-files/?d={project}/field.png", "sample": "Os"}
    tasks = studio.import_tasks(project, [{"data": data} for _ in range(TASKS)])
    settings = Settings(data_dir=tmp_path_factory.mktemp("pages"))
    shutil.copytree(starter_versions, settings.versions)
    registry = Registry(settings.versions, settings.champions)
    (starter,) = registry.list_versions()
    weights = registry.get_folder(starter.name) / FILE_NAME
    newer = replace(starter, name=f"{project}-v1-0a1b2c3d", project=str(project), **JUDGED)
    registry.add(newer, [path for path in weights.parent.iterdir() if path.suffix != ".json"])
    registry.promote(str(project), starter.name, by="test", reason="start")
    height, width = pixels.shape[:2]
    result = [region(box, width, height) for box in BOXES]
    drawn = [(task, starter.name, 0.4, result) for task in tasks]
    studio.import_predictions(project, labels, drawn)
    assert studio.set_model_version(project, starter.name)
    Projects(settings.projects_database).connect(
        Project(project, studio.url, label_studio.account.token, "Pages", labels)
    )
    server = make_server("127.0.0.1", 0, create_app(settings), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    yield Pages(url, settings, studio, project, tasks, starter.name)
    server.shutdown()
    thread.join()


@pytest.fixture(scope="module")
def ada(pages: Pages) -> Person:
    """Another user of Label Studio than the one whose token the service holds."""
    made = pages.studio.session.sdk.users.create(
        email="ada@example.org", username="ada", first_name="Ada", last_name="L"
    )
    return Person(int(made.id or 0), str(made.email))


def open_gallery(browser_page: Any, pages: Pages, person: Person, query: str = "") -> None:
    path = f"/projects/{pages.project}/cells/"
    browser_page.goto(pages.make_link(person, path))
    for _ in range(40):  # the tasks are read in the background
        browser_page.goto(f"{pages.url}{path}{query}")
        if browser_page.locator(".crop").count():
            return
        browser_page.wait_for_timeout(250)
    raise AssertionError(browser_page.locator("main").inner_text())


def wait_states(browser_page: Any, state: str, number: int) -> None:
    """Until so many cells are in a state; no script, which the pages' security policy refuses."""
    expect = sync_api.expect(browser_page.locator(f"[data-state={state}]"))
    expect.to_have_count(number, timeout=15_000)


def wait_annotated(pages: Pages, task: int, number: int = 1) -> list[dict[str, Any]]:
    for _ in range(60):
        found = pages.annotations(task)
        if len(found) == number:
            return found
        threading.Event().wait(0.2)
    raise AssertionError(f"task {task} has {len(found)} annotations")


def test_what_is_decided_is_what_the_labeling_screen_stores(
    page: Any, pages: Pages, ada: Person
) -> None:
    here, there = pages.take_task(), pages.take_task()
    open_gallery(page, pages, ada, f"?task={here}&order=confident")
    page.locator(".crop a").first.focus()
    page.keyboard.press("c")  # 0.87 is confirmed
    page.keyboard.press("2")  # 0.6 is the other class
    wait_states(page, "decided", 2)
    assert pages.annotations(here) == [], "nothing is stored before all is decided"
    page.keyboard.press("x")  # 0.42 is none
    wait_states(page, "stored", 3)
    (ours,) = wait_annotated(pages, here)

    studio_url = pages.studio.url
    page.goto(f"{studio_url}/projects/{pages.project}/data?task={there}", wait_until="commit")
    page.wait_for_function("() => window.Htx?.annotationStore?.selected?.regions?.length === 3")
    page.wait_for_timeout(2000)
    for index, key in ((2, "2"), (1, "Backspace")):
        page.evaluate(
            "i => { const made = Htx.annotationStore.selected; made.selectArea(made.regions[i]) }",
            index,
        )
        page.wait_for_function("() => Htx.annotationStore.selected.selectedRegions.length === 1")
        drawn = "() => Htx.annotationStore.selected.serializeAnnotation()"
        press_until_changed(page, key, drawn)
    page.get_by_role("button", name="Submit").first.click()
    (theirs,) = wait_annotated(pages, there)

    assert json.dumps(ours["result"]) == json.dumps(theirs["result"])
    assert ours.keys() == theirs.keys()
    same = {name: value for name, value in ours.items() if name not in IDS_AND_TIMES}
    assert same == {name: value for name, value in theirs.items() if name not in IDS_AND_TIMES}
    assert ours["completed_by"] == ada.id and ours["lead_time"] > 0
    assert ours["parent_prediction"] and theirs["parent_prediction"]


def test_one_key_undoes_it(page: Any, pages: Pages, ada: Person) -> None:
    task = pages.take_task()
    open_gallery(page, pages, ada, f"?task={task}")
    page.keyboard.press("a")
    page.keyboard.press("c")
    wait_annotated(pages, task)
    wait_states(page, "stored", 3)
    page.keyboard.press("z")
    wait_states(page, "open", 3)
    assert pages.annotations(task) == []


def test_who_annotated_in_label_studio_meanwhile_is_not_overruled(
    page: Any, pages: Pages, ada: Person
) -> None:
    task = pages.take_task()
    open_gallery(page, pages, ada, f"?task={task}")
    pages.studio.submit_annotation(task, [])
    page.keyboard.press("a")
    page.keyboard.press("c")
    page.locator("#trouble").get_by_text("annotated it in Label Studio meanwhile").wait_for()
    assert len(pages.annotations(task)) == 1


def test_a_click_opens_the_task_and_shift_chooses_several(
    page: Any, pages: Pages, ada: Person
) -> None:
    open_gallery(page, pages, ada)
    href = page.locator(".crop a").first.get_attribute("href")
    assert href.startswith(f"{pages.studio.url}/projects/{pages.project}/data?task=")
    page.locator(".crop a").first.focus()
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    assert page.locator("#chosen").inner_text() == "4 chosen"
    page.keyboard.press("Escape")
    assert page.locator("#chosen").inner_text() == "none chosen"
    page.keyboard.press("m")
    page.wait_for_url("**alike=**")
    first, *others = page.locator(".crop").all()
    assert len(others) >= 1 and first.get_attribute("data-number") in page.url


def test_everybody_can_read_every_page(page: Any, pages: Pages, ada: Person) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe here").Axe()
    page.set_viewport_size({"width": 1366, "height": 768})
    number = pages.project
    project = f"/projects/{number}"
    paths = [
        "/", f"{project}/", f"{project}/cells/?state=any", f"{project}/versions/",
        f"{project}/versions/{number}-v1-0a1b2c3d", f"{project}/confirm/train",
        f"{project}/compare/", f"/overviews/{number}/", f"/overviews/{number}/0/", "/overviews/",
        "/scans/", "/nowhere",
    ]  # fmt: skip
    # What is there once the page has read and drawn in the background.
    awaited = {
        f"{project}/": "svg.chart circle", f"{project}/compare/": ".pairs svg.boxed .box",
        f"/overviews/{number}/": "tbody a", f"/overviews/{number}/0/": "svg.scan .box",
    }  # fmt: skip
    problems = []
    page.goto(pages.make_link(ada, "/"))
    with tell_progress(pages.settings.progress, str(number), lambda step: None) as tell:
        tell({"epoch": 3, "epochs": 10, "loss": 0.5, "seconds_left": 100.0})
        for path in paths:
            page.goto(pages.url + path)
            if path in awaited:
                page.locator(awaited[path]).first.wait_for(timeout=60_000)
            problems += find_problems(axe, page, path)
            wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
            assert not page.evaluate(wide), f"{path} is wider than the screen"
        page.goto(f"{pages.url}{project}/")
        assert "pass 3 of 10" in page.locator("main").inner_text()
    page.locator("form.who button").click()
    problems += find_problems(axe, page, "/login")
    assert not problems, "\n".join(problems)


def find_problems(axe: Any, browser_page: Any, path: str) -> list[str]:
    """What axe-core calls serious or worse, in light and in dark."""
    problems = []
    for scheme in ("light", "dark"):
        browser_page.emulate_media(color_scheme=scheme)
        problems += [
            f"{path}, {scheme}: {found['id']}: {node['html'][:200]}"
            for found in axe.run(browser_page).response["violations"]
            if found["impact"] in ("serious", "critical")
            for node in found["nodes"]
        ]
    return problems
