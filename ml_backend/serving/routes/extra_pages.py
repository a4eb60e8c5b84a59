"""Pages that other packages add, by the entry points `cytoloop.pages`.

An entry point names a Flask blueprint, or a function that takes the `AppState` and returns one.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from flask import Blueprint, Flask

from ml_backend.serving.app_state import AppState

GROUP = "cytoloop.pages"


def add_pages(app: Flask, state: AppState) -> None:
    """Add the pages of every installed package to the app.

    A blueprint without a prefix of its own lies at `/<its name>`; where it has a view `index`,
    the menu shows it. A page that fails to load is logged and left out.
    """
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            blueprint = _load(entry, state)
            prefix = blueprint.url_prefix or f"/{blueprint.name}"
            app.register_blueprint(blueprint, url_prefix=prefix)
        except Exception:  # another package's code may fail in any way; the server starts
            app.logger.exception("the page %s (%s) is left out", entry.name, entry.value)


def _load(entry: EntryPoint, state: AppState) -> Blueprint:
    page = entry.load()
    blueprint = page if isinstance(page, Blueprint) else page(state)
    if not isinstance(blueprint, Blueprint):
        raise TypeError(f"{entry.value} gives {type(blueprint).__name__}, not a Flask blueprint")
    return blueprint


def list_tabs(app: Flask) -> list[tuple[str, str]]:
    """Return title and endpoint of each added page about a single project.

    Those are the blueprints of the menu with a view `show` that takes the project's `number`.
    """
    return [
        (title, f"{name}.show")
        for title, endpoint in list_menu(app)
        for name in [endpoint.removesuffix(".index")]
        if f"{name}.show" in app.view_functions
    ]


def list_menu(app: Flask) -> list[tuple[str, str]]:
    """Return title and endpoint of each page for the menu: the blueprints with a view `index`."""
    return [
        (name.replace("_", " ").capitalize(), f"{name}.index")
        for name in app.blueprints
        if f"{name}.index" in app.view_functions
    ]
