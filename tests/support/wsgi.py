"""WSGI servers in this process, each on a free port: gunicorn's threaded worker, Werkzeug's, Django's own."""

from __future__ import annotations

import logging
import os
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler as RunserverHandler
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.sock import create_sockets
from gunicorn.workers.gthread import ThreadWorker
from werkzeug.serving import WSGIRequestHandler as WerkzeugHandler, make_server as werkzeug_server

__all__ = ["Switch", "gunicorn", "runserver", "serving_on", "werkzeug"]

Application = Callable[..., Any]


class Switch:
    """An application that is exchanged while its server runs on: one of gunicorn's takes a second to stop."""

    application: Application

    def __call__(self, *arguments: Any) -> Any:
        """Serve one request."""
        return self.application(*arguments)


class _Settings(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    def __init__(self, application: Application, threads: int) -> None:
        self._application = application
        self._threads = threads
        super().__init__()

    def load_config(self) -> None:
        settings = {"bind": "127.0.0.1:0", "worker_class": "gthread", "loglevel": "critical"}
        for name, value in (settings | {"threads": self._threads, "graceful_timeout": 1}).items():
            self.cfg.set(name, value)

    def load(self) -> Application:
        return self._application


class _Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """One that runs in a thread of ours: no process, and no signals."""

    def init_signals(self) -> None:
        """Leave the signals of the test's process alone."""


@contextmanager
def gunicorn(application: Application, *, threads: int = 8) -> Iterator[str]:
    """Serve with gunicorn's ``gthread`` worker."""
    app = _Settings(application, threads)
    log = Logger(app.cfg)
    sockets = create_sockets(app.cfg, log)
    worker = _Worker(1, os.getppid(), sockets, app, 30, app.cfg, log)
    thread = threading.Thread(target=_until_told, args=[worker])
    thread.start()
    try:
        yield f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    finally:
        worker.alive = False
        worker.handle_exit(None, None)
        thread.join(10)
        worker.tmp.close()
        for each in sockets:
            each.close()


def _until_told(worker: Any) -> None:
    with suppress(SystemExit):
        worker.init_process()


class _QuietWerkzeug(WerkzeugHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Say nothing."""


@contextmanager
def werkzeug(application: Application) -> Iterator[str]:
    """Serve with the server of ``flask run``."""
    with serving_on(0, application) as base:
        yield base


@contextmanager
def runserver(application: Application) -> Iterator[str]:
    """Serve with the server of ``manage.py runserver``: it knows nothing of chunks, and has no timeouts."""
    logging.getLogger("django.server").disabled = True
    server = ThreadedWSGIServer(("127.0.0.1", 0), RunserverHandler)
    server.set_app(application)
    with _served(server):
        yield f"http://127.0.0.1:{server.server_port}"


@contextmanager
def serving_on(port: int, application: Application) -> Iterator[str]:
    """Serve with Werkzeug's server, on a port that is known before."""
    server = werkzeug_server("127.0.0.1", port, application, threaded=True, request_handler=_QuietWerkzeug)
    with _served(server):
        yield f"http://127.0.0.1:{server.server_port}"


@contextmanager
def _served(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=[0.05])
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
