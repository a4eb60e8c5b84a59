"""What was measured of a project last: how far annotators agree, how many cells it holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from ml_backend.state.store import Store
from ml_backend.state.tables import agreement, estimate
from ml_backend.system.database import replace_rows


class Measurements(Store):
    """The newest measurements of every project."""

    def keep_agreement(self, project: int, measured: Mapping[str, Any]) -> bool:
        """Keep what was measured of a project's annotators; return whether it changed."""
        kept = json.dumps(measured, sort_keys=True)
        query = select(agreement.c.measured).where(agreement.c.project == project)
        with self._database.begin() as connection:
            if connection.execute(query).scalar_one_or_none() == kept:
                return False
            replace_rows(connection, agreement, [{"project": project, "measured": kept}])
        return True

    def get_agreement(self, project: int) -> dict[str, Any]:
        """Return what was measured last: see `retraining.annotators`; {} where nothing was."""
        query = select(agreement.c.measured).where(agreement.c.project == project)
        with self._database.begin() as connection:
            kept = connection.execute(query).scalar_one_or_none()
        return {} if kept is None else json.loads(kept)

    def keep_estimate(self, project: int, found: Mapping[str, Any]) -> None:
        """Keep what a project that counts holds in all: see `counting.records.to_json`."""
        with self._database.begin() as connection:
            replace_rows(connection, estimate, [{"project": project, "found": json.dumps(found)}])

    def get_estimate(self, project: int) -> dict[str, Any] | None:
        """Return what was estimated last; None where nothing was."""
        query = select(estimate.c.found).where(estimate.c.project == project)
        with self._database.begin() as connection:
            kept = connection.execute(query).scalar_one_or_none()
        return None if kept is None else json.loads(kept)
