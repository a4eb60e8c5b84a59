"""The server's Flask app: one state, the routes over it, and pages that other packages add."""

from __future__ import annotations

from flask import Flask
from jinja2 import StrictUndefined

from ml_backend.serving.access import security
from ml_backend.serving.access.browser_session import configure_sessions
from ml_backend.serving.app_state import EXTENSION, AppState
from ml_backend.serving.errors import register_error_handlers
from ml_backend.serving.project_page.words import FILTERS
from ml_backend.serving.request_body import MOST_BODY_BYTES
from ml_backend.serving.routes import cells, compare, label_studio, login, metrics, pages, projects
from ml_backend.serving.routes.extra_pages import add_pages
from ml_backend.settings import Settings


def create_app(settings: Settings) -> Flask:
    """Build the Flask app over one data folder.

    Args:
        settings: Name the data folder; it is made where it is not there yet.

    Returns:
        The app, with its `AppState` in `app.extensions["cytoloop"]`.
    """
    app = Flask(__name__)
    app.jinja_options = {
        "undefined": StrictUndefined,
        "trim_blocks": True,
        "lstrip_blocks": True,
    }
    app.config["MAX_CONTENT_LENGTH"] = MOST_BODY_BYTES
    state = app.extensions[EXTENSION] = AppState.open(settings)
    configure_sessions(app, state)
    # First the clock of the metrics, so that a refused request is counted too.
    app.register_blueprint(metrics.routes)
    app.before_request(security.check_request)
    app.after_request(security.add_headers)
    app.register_blueprint(label_studio.routes)
    app.register_blueprint(login.routes)
    app.register_blueprint(pages.routes)
    app.register_blueprint(projects.routes)
    app.register_blueprint(cells.routes)
    app.register_blueprint(compare.routes)
    app.jinja_env.filters.update(FILTERS)
    register_error_handlers(app)
    add_pages(app, state)
    return app
