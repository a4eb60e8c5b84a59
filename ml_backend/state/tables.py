"""The tables of what is kept beside Label Studio.

A data folder may be of an earlier release: columns stay as they are, new ones get tables of their
own.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, MetaData, Table

from ml_backend.system.database import Text

TABLES = MetaData()


def _table(name: str, *columns: Column) -> Table:
    return Table(name, TABLES, *columns)


def _key(name: str, kind: type[BigInteger] | type[Text] = BigInteger) -> Column:
    return Column(name, kind, primary_key=True, autoincrement=False)


def _filled(name: str, kind: type[BigInteger] | type[Float] | type[Text]) -> Column:
    return Column(name, kind, nullable=False)


project = _table(
    "project",
    _key("id"),
    _filled("url", Text),
    _filled("token", Text),
    _filled("title", Text),
    _filled("label_config", Text),
)
polled = _table("polled", _key("project"))

# Times are seconds since 1970.
note = _table(
    "note", _key("project"), _key("kind", Text), _filled("first", Float), _filled("last", Float)
)

left_out = _table(
    "left_out", _key("project"), _key("task"), _filled("reason", Text), _filled("at", Float)
)
trouble = _table(
    "trouble", _key("project"), _key("job", Text), _filled("reason", Text), _filled("at", Float)
)
# When what failed is tried again: after so many failures, the last of them when, until when.
wait = _table(
    "wait",
    _key("project"),
    _key("job", Text),
    _filled("failures", BigInteger),
    _filled("failed", Float),
    _filled("until", Float),
)

strategy = _table("strategy", _key("project"), _filled("name", Text))
goal = _table("goal", _key("project"), _filled("goal", Text))
queue_scores = _table(
    "queue_scores",
    _key("project"),
    _key("version", Text),
    _key("strategy", Text),
    _filled("among", Text),  # a list of numbers, in JSON
)
foreground = _table(
    "foreground",
    _key("project"),
    _key("version", Text),
    _filled("shown", BigInteger),
    _filled("seen", BigInteger),
)
scored = _table(
    "scored",
    _key("project"),
    _key("version", Text),
    _filled("strategy", Text),
    Column("until", BigInteger),
)

agreement = _table("agreement", _key("project"), _filled("measured", Text))  # in JSON
estimate = _table("estimate", _key("project"), _filled("found", Text))  # in JSON

# Two without a key: every row is an event.
attempt = _table(
    "attempt",
    _filled("project", BigInteger),
    _filled("snapshot", Text),
    _filled("outcome", Text),
    _filled("at", Float),
)
request = _table(
    "request",
    _filled("project", BigInteger),
    _filled("what", Text),
    _filled("person", Text),
    _filled("at", Float),
)

shown = _table(
    "shown",
    _key("project"),
    _key("annotation"),
    _filled("version", Text),
    _filled("result", Text),  # regions, in JSON
)

# What goes with a project that is gone from Label Studio; its history stays.
OF_PROJECTS = (note, left_out, trouble, wait, strategy, goal, agreement, estimate, polled)
