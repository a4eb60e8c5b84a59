"""The process that serves the app."""

from __future__ import annotations

import sys

from flask import Flask

from ml_backend.serving.app import create_app
from ml_backend.settings import Settings

# Label Studio asks for several projects at a time, and a browser beside it.
_THREADS = 16


def serve(settings: Settings, host: str, port: int) -> None:
    """Serve until ended: one process, threads; gunicorn, or waitress on Windows.

    More processes would each load every detector, on the same cores.

    Args:
        settings: Name the data folder.
        host: The address to listen on.
        port: The port to listen on.
    """
    if sys.platform == "win32":
        import waitress

        waitress.serve(create_app(settings), host=host, port=port, threads=_THREADS)
        return

    from gunicorn.app.base import BaseApplication

    class Server(BaseApplication):
        def load_config(self) -> None:
            options = {
                "bind": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
                "workers": 1,
                "threads": _THREADS,
                "timeout": 120,
                "graceful_timeout": 5,
                "proc_name": "cytoloop",
                "loglevel": "warning",
            }
            for name, value in options.items():
                self.cfg.set(name, value)

        def load(self) -> Flask:
            return create_app(settings)

    Server().run()
