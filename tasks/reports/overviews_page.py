"""The pages `/overviews/`: a project's scans with their counts, each as a picture that zooms.

What a project holds is read as for a report, in the background, and again when somebody looks
later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
from flask import Blueprint, Response, abort, render_template

from ml_backend.imaging.decode import UnreadableImage
from ml_backend.serving.app_state import AppState
from ml_backend.settings import Settings
from tasks.reports.counts import ImageGroup, count_objects
from tasks.reports.mitotic_index import compute_indices
from tasks.reports.project_source import read_project
from tasks.reports.source import ReportSource
from tasks.sources.discover import Skipped

# What was read is shown for so many seconds before it is read again.
FRESH = 60.0
# Longest side of the picture of a tile, px: far away, and near.
_SIDES = {"small": 128, "large": 1024}
_MOST_LISTED = 500
_READING = "Reading the project from Label Studio …"


@dataclass
class ReadProject:
    """A project as it was read.

    Attributes:
        source: What it holds; None before it was read.
        read: When, in seconds since 1970; None before.
        problem: Why it could not be read; "" where it could.
        reading: It is being read now.
    """

    source: ReportSource | None = None
    read: float | None = None
    problem: str = ""
    reading: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def refresh(self, read: Callable[[], ReportSource]) -> None:
        """Read it in the background where it is not fresh."""
        with self._lock:
            fresh = self.read is not None and time.time() - self.read < FRESH
            if fresh or self.reading:
                return
            self.reading = True

        def work() -> None:
            try:
                self.source, self.problem = read(), ""
            except Exception as error:  # told on the page; the next look tries again
                self.problem = str(error) or type(error).__name__
            finally:
                self.read, self.reading = time.time(), False

        threading.Thread(target=work, daemon=True).start()


class ReadProjects:
    """The projects that somebody looked at; safe among threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._read: dict[int, ReadProject] = {}
        self._lock = threading.Lock()

    def get(self, number: int) -> ReadProject:
        """Return a project as it was read last; it is read again where that is long ago."""
        with self._lock:
            project = self._read.setdefault(number, ReadProject())
        project.refresh(lambda: read_project(number, self._settings))
        return project


def build_page(state: AppState) -> Blueprint:
    """Build the pages over one data folder."""
    page = Blueprint("overviews", __name__, template_folder="templates")
    projects = ReadProjects(state.settings)

    @page.get("/")
    def index() -> str:
        return render_template("overviews/index.html", projects=state.projects.list_projects())

    @page.get("/<int:number>/")
    def show(number: int) -> str:
        project, read = state.projects.get(number), projects.get(number)
        source = read.source
        return render_template(
            "overviews/project.html",
            project=project,
            read=read,
            groups=list(enumerate(source.groups[:_MOST_LISTED])) if source else [],
            total=len(source.groups) if source else 0,
            counts=count_objects(source.groups, source.classes) if source else [],
            indices=compute_indices(source.groups, source.dividing) if source else [],
            reading=_READING,
        )

    @page.get("/<int:number>/reading")
    def show_reading(number: int) -> tuple[str, int]:
        state.projects.get(number)
        read = projects.get(number)
        return (_READING, 200) if read.reading or read.read is None else ("", 205)

    @page.get("/<int:number>/<int:place>/")
    def scan(number: int, place: int) -> str:
        project, read = state.projects.get(number), projects.get(number)
        group = _find_group(read, place)
        assert read.source is not None
        return render_template(
            "overviews/scan.html",
            project=project,
            place=place,
            group=group,
            states=_count_states(group),
            colours=read.source.colours,
            counts=count_objects([group], read.source.classes),
            indices=compute_indices([group], read.source.dividing),
        )

    @page.get("/<int:number>/<int:place>/<int:image>-<any(small, large):size>.jpg")
    def picture(number: int, place: int, image: int, size: str) -> Response:
        read = projects.get(number)
        group = _find_group(read, place)
        source = read.source
        if source is None or source.pixels is None or image >= len(group.images):
            abort(404, "There is no such picture.")
        skipped: list[Skipped] = []
        try:
            piece = next(iter(source.pixels.read_pieces(group, [image], skipped)), None)
        except UnreadableImage as error:
            abort(404, str(error))
        if piece is None:
            abort(404, skipped[0]["reason"] if skipped else "It cannot be read.")
        scale = min(1.0, _SIDES[size] / max(piece.pixels.shape[:2]))
        small = cv2.resize(piece.pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        content = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])[1]
        answer = Response(content.tobytes(), mimetype="image/jpeg")
        answer.headers["Cache-Control"] = "private, max-age=3600"
        return answer

    return page


def _find_group(read: ReadProject, place: int) -> ImageGroup:
    if read.source is None or place >= len(read.source.groups):
        abort(404, "There is no such scan, or it is still being read; try again in a moment.")
    return read.source.groups[place]


def _count_states(group: ImageGroup) -> dict[str, int]:
    """How many images of a group are in each state."""
    states = {"reviewed": 0, "detected": 0, "waiting": 0}
    for image in group.images:
        states[image.state] += 1
    return states
