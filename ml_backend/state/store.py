"""What all stores of a database are made of."""

from __future__ import annotations

from ml_backend.system.database import Database


class Store:
    """Some of the tables of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
