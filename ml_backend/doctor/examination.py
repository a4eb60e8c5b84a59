"""An examination: every check, over the machine, the data folder and each project."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from ml_backend.doctor import connection, data_folder, machine, project
from ml_backend.doctor.finding import SEVERITIES, Check, Finding, Result, Severity
from ml_backend.doctor.project import Patient
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.session import (
    STUDIO_ERRORS,
    ProjectGone,
    StudioRefused,
    StudioUnreachable,
)
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from ml_backend.system.database import DatabaseError, is_there

Subject = TypeVar("Subject")

# What a look may run into; it is found, and the other checks go on.
_FAULTS = (*STUDIO_ERRORS, ValueError, LookupError, OSError, RuntimeError, DatabaseError)
# What to do where the error does not say it.
_MENDS: dict[type[Exception], str] = {
    StudioUnreachable: "start it (cytoloop up, or as you start yours); where it has another "
    "address now, cytoloop connect with that one",
    StudioRefused: "cytoloop connect with a new token",
    ProjectGone: "nothing, if it was deleted on purpose: the worker forgets it",
}


def examine(settings: Settings, number: int | None = None) -> Iterator[Result]:
    """Examine an installation; nothing is changed.

    Args:
        settings: Of the data folder.
        number: Only this project; all connected ones where None.

    Yields:
        What the checks find, one by one, because some take seconds.

    Raises:
        NotConnected: There is no such project.
    """
    projects = (
        Projects(settings.projects_database) if is_there(settings.projects_database) else None
    )
    chosen: list[Project] = []
    if number is not None:
        projects = projects or Projects(settings.projects_database)
        chosen = [projects.get(number)]
    elif projects is not None:
        chosen = projects.list_projects()
    yield from _look(machine.CHECKS, settings, None)
    yield from _look(data_folder.CHECKS, settings, None)
    if not chosen:
        seen = Finding("note", "no project is connected", "cytoloop up, or cytoloop connect")
        yield Result("projects", None, seen)
    for connected in chosen:
        assert projects is not None
        yield from _examine_project(settings, projects, connected)


def find_worst(results: Sequence[Result]) -> Severity:
    """Find the gravest severity; "ok" where there is nothing."""
    return max((result.finding.severity for result in results), key=SEVERITIES.index, default="ok")


def _examine_project(
    settings: Settings, projects: Projects, connected: Project
) -> Iterator[Result]:
    try:
        studio = Studio(connected.url, connected.token, patient=False)
    except STUDIO_ERRORS as error:  # a token that has ended is known without asking
        mend = connection.describe_connect(connected)
        yield Result("token", connected.id, Finding("error", str(error), mend))
        return
    patient = Patient(settings, projects, connected, studio)
    for check in connection.CHECKS:
        results = list(_look([check], patient, connected.id))
        yield from results
        if check.name == "Label Studio" and find_worst(results) == "error":
            return  # all others would find the same
    yield from _look(project.CHECKS, patient, connected.id)


def _look(
    checks: Sequence[Check[Subject]], subject: Subject, number: int | None
) -> Iterator[Result]:
    """Carry out checks; one that fails is a finding itself, and the others go on."""
    for check in checks:
        try:
            for finding in check.look(subject):
                yield Result(check.name, number, finding)
        except _FAULTS as error:
            mend = _MENDS.get(type(error), "")
            reason = str(error) or type(error).__name__
            yield Result(check.name, number, Finding("error", reason, mend))
