"""The process that serves the app."""

from __future__ import annotations

import sys
from typing import Any

from flask import Flask

from ml_backend.serving.app import create_app
from ml_backend.serving.request_body import MOST_BODY_BYTES
from ml_backend.settings import Settings
from ml_backend.system.printable import configure_logging

# Of waitress, which reads requests in one loop, so that slow senders hold none of them.
_THREADS = 16
# Bytes of a request's line, and of each line of its header.
MOST_LINE_BYTES = 8190
# A connection that keeps silent is closed after so many seconds.
_SILENCE = 10


def serve(settings: Settings, host: str, port: int) -> None:
    """Serve until ended: one process, threads; gunicorn, or waitress on Windows.

    More processes would each load every detector, on the same cores.

    Args:
        settings: Name the data folder, and the certificate where it serves by TLS.
        host: The address to listen on.
        port: The port to listen on.

    Raises:
        ValueError: A certificate is given on Windows, where there is no TLS.
    """
    configure_logging()
    if sys.platform == "win32":
        if settings.tls_certificate is not None:
            raise ValueError("on Windows put a proxy with TLS before the ML backend")
        import waitress

        waitress.serve(
            create_app(settings),
            host=host,
            port=port,
            threads=_THREADS,
            connection_limit=1000,
            channel_timeout=_SILENCE,
            cleanup_interval=5,
            max_request_header_size=8 * MOST_LINE_BYTES,
            max_request_body_size=MOST_BODY_BYTES,
        )
        return

    from gunicorn.app.base import BaseApplication

    from ml_backend.serving.gunicorn_worker import THREADS, BoundedWorker, OneLineLogger

    class Server(BaseApplication):
        def load_config(self) -> None:
            options: dict[str, Any] = {
                "bind": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
                "workers": 1,
                "worker_class": BoundedWorker,
                "threads": THREADS,
                # The files that a process may have open are 1024 on many systems.
                "worker_connections": 512,
                "limit_request_line": MOST_LINE_BYTES,
                "limit_request_fields": 64,
                "limit_request_field_size": MOST_LINE_BYTES,
                "timeout": 120,
                "graceful_timeout": 5,
                "proc_name": "cytoloop",
                "loglevel": "warning",
                "logger_class": OneLineLogger,
            }
            if settings.tls_certificate is not None:
                options["certfile"] = str(settings.tls_certificate)
                options["keyfile"] = str(settings.tls_key)
            for name, value in options.items():
                self.cfg.set(name, value)

        def load(self) -> Flask:
            return create_app(settings)

    Server().run()
