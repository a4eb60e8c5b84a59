"""The page `/scans/` of the server: how far the scans of this data folder are."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from flask import Blueprint, render_template

from ml_backend.serving.app_state import AppState
from tasks.review.checkpoint import ScanProgress, read_progress


@dataclass(frozen=True)
class Scan:
    """A scan that was sent to a project, or is being sent.

    Attributes:
        project: The project's title, or its id where it is not connected any more.
        progress: None where the checkpoint cannot be read.
        problem: Why it cannot.
        number: The project's id; None where it is not connected any more.
    """

    project: str
    progress: ScanProgress | None
    problem: str = ""
    number: int | None = None

    @property
    def written(self) -> str:
        """When the checkpoint was last written, in local time; empty where that is not known."""
        if self.progress is None:
            return ""
        return datetime.fromtimestamp(self.progress.written).strftime("%Y-%m-%d %H:%M:%S")


def build_page(state: AppState) -> Blueprint:
    """Build the page, which reads the checkpoints anew each time it is asked for."""
    page = Blueprint("scans", __name__, template_folder="templates")

    @page.get("/")
    def index() -> str:
        titles = {project.id: project.title for project in state.projects.list_projects()}
        scans = list_scans(state.settings.data_dir / "scans", titles)
        return render_template("scans/scans.html", scans=scans)

    return page


def list_scans(folder: Path, titles: dict[int, str]) -> list[Scan]:
    """Return the scans whose checkpoints lie in a folder, the one written last first.

    Args:
        folder: Holds `<project>-<fingerprint>.sqlite` for each scan; it may be missing.
        titles: Of the connected projects, by id.
    """
    scans = list(_read_scans(folder, titles))
    return sorted(scans, key=lambda scan: -scan.progress.written if scan.progress else 0.0)


def _read_scans(folder: Path, titles: dict[int, str]) -> Iterator[Scan]:
    for path in folder.glob("*-*.sqlite"):
        name = path.stem.partition("-")[0]
        number = int(name) if name.isdecimal() and int(name) in titles else None
        project = f"Project {name}" if number is None else titles[number]
        try:
            yield Scan(project, read_progress(path), number=number)
        except (OSError, sqlite3.Error) as error:
            yield Scan(project, None, f"{path.name} cannot be read ({error})", number)
