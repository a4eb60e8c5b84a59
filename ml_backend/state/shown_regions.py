"""Copies of the pre-annotations that annotations started from.

Whoever deletes one in Label Studio, or its link: what the annotator saw is still known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from sqlalchemy import select

from ml_backend.dataset.corrections import ShownRegions
from ml_backend.state.store import Store
from ml_backend.state.tables import shown as shown_regions
from ml_backend.system.database import add_rows, read_distinct


class ShownRegionsStore(Store):
    """The copied regions of every project."""

    def keep_shown_regions(self, project: int, shown: Mapping[int, ShownRegions]) -> None:
        """Copy the regions that annotations started from; the first copy of each stays.

        Args:
            project: The project's id.
            shown: The regions by annotation id.
        """
        rows = [
            {
                "project": project,
                "annotation": annotation,
                "version": regions.version,
                "result": json.dumps(regions.result),
            }
            for annotation, regions in shown.items()
        ]
        with self._database.begin() as connection:
            add_rows(connection, shown_regions, rows)

    def list_shown_versions(self) -> set[str]:
        """List the versions that drew any of the copied regions."""
        with self._database.begin() as connection:
            return read_distinct(connection, shown_regions.c.version)

    def get_shown_regions(
        self, project: int, versions: Sequence[str] = ()
    ) -> dict[int, ShownRegions]:
        """Return the copied regions by annotation id.

        Args:
            project: The project's id.
            versions: Only those that these versions drew, where some are named.
        """
        columns = shown_regions.c
        query = select(columns.annotation, columns.version, columns.result)
        query = query.where(columns.project == project)
        if versions:
            query = query.where(columns.version.in_(versions))
        with self._database.begin() as connection:
            return {
                number: ShownRegions(version, json.loads(result))
                for number, version, result in connection.execute(query)
            }
