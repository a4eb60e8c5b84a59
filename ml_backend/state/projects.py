"""The connected projects, with all that is kept of them beside Label Studio.

One database, shared by the server's threads and the workers: SQLite, or PostgreSQL for several
machines.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import delete, func, select, update

from ml_backend.state.failures import Failures
from ml_backend.state.history import History
from ml_backend.state.measurements import Measurements
from ml_backend.state.notes import Note, Notes
from ml_backend.state.queue_order import Goal, QueueOrder
from ml_backend.state.shown_regions import ShownRegionsStore
from ml_backend.state.tables import OF_PROJECTS, TABLES
from ml_backend.state.tables import polled as polled_projects
from ml_backend.state.tables import project as projects
from ml_backend.system.database import Address, Database, add_rows, replace_rows

__all__ = ["Goal", "NotConnected", "Note", "OtherStudio", "Project", "Projects"]

# No database's integers are greater.
_MOST_ID = 2**63 - 1


@dataclass(frozen=True)
class Project:
    """A connected Label Studio project."""

    id: int
    url: str
    token: str
    title: str
    label_config: str


class NotConnected(LookupError):
    """The project is not connected to this data folder."""


class OtherStudio(ValueError):
    """The data folder already serves another Label Studio."""


class Projects(Notes, Failures, QueueOrder, Measurements, History, ShownRegionsStore):
    """The store of a data folder, or of all machines; safe for threads and processes."""

    def __init__(self, address: Address) -> None:
        """Open the store, and make it where it is not there.

        Args:
            address: A SQLite file, readable by its owner only, since it holds tokens; or
                PostgreSQL's.
        """
        super().__init__(Database(address, TABLES))

    def connect(self, project: Project) -> None:
        """Add a project, or update it.

        Raises:
            OtherStudio: The data folder's projects live on another server: ids of two servers
                would be mistaken for each other.
        """
        others = {known.url.rstrip("/") for known in self.list_projects()} - {
            project.url.rstrip("/")
        }
        if others:
            raise OtherStudio(
                f"this data folder already serves projects of {', '.join(sorted(others))}; "
                f"use another --data-dir for {project.url}"
            )
        with self._database.begin() as connection:
            replace_rows(connection, projects, [asdict(project)])

    def move(self, old: str, url: str, token: str) -> None:
        """Note that the server at `old` answers at `url` now, or with another token."""
        there = func.rtrim(projects.c.url, "/") == old.rstrip("/")
        with self._database.begin() as connection:
            connection.execute(update(projects).where(there).values(url=url, token=token))

    def forget(self, project: int) -> None:
        """Remove a project that was deleted in Label Studio; its versions stay."""
        with self._database.begin() as connection:
            connection.execute(delete(projects).where(projects.c.id == project))
            for table in OF_PROJECTS:
                connection.execute(delete(table).where(table.c.project == project))

    def update_labels(self, project: int, label_config: str) -> None:
        """Keep a project's labelling configuration (XML), which changed in Label Studio."""
        changed = update(projects).where(projects.c.id == project)
        with self._database.begin() as connection:
            connection.execute(changed.values(label_config=label_config))

    def get(self, project: int) -> Project:
        """Return a connected project.

        Raises:
            NotConnected: It is not one of this data folder.
        """
        row = None
        if abs(project) <= _MOST_ID:
            with self._database.begin() as connection:
                query = select(projects).where(projects.c.id == project)
                row = connection.execute(query).one_or_none()
        if row is None:
            raise NotConnected(
                f"project {project} is not connected; run: "
                f"cytoloop connect --url URL --token - --project {project}"
            )
        return Project(*row)

    def list_projects(self) -> list[Project]:
        """Return the connected projects, by their ids."""
        with self._database.begin() as connection:
            query = select(projects).order_by(projects.c.id)
            return [Project(*row) for row in connection.execute(query)]

    def choose_polling(self, project: int, polled: bool) -> None:
        """Note whether the worker has to ask what changed, because Label Studio tells nothing."""
        with self._database.begin() as connection:
            if polled:
                add_rows(connection, polled_projects, [{"project": project}])
            else:
                mine = polled_projects.c.project == project
                connection.execute(delete(polled_projects).where(mine))

    def is_polled(self, project: int) -> bool:
        """Tell whether the worker has to ask what changed in a project."""
        with self._database.begin() as connection:
            mine = polled_projects.c.project == project
            query = select(polled_projects.c.project).where(mine)
            return connection.execute(query).first() is not None
