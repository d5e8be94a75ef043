"""rq-dashboard for the queue, reading jobs as JSON: its default, pickle, would run what anybody put into Redis.

What must hold: nobody sees it without the password, where one is set; another site's page can change nothing through a
visitor's browser; nothing can be deleted here: what is in the queue is somebody's push.
"""

from __future__ import annotations

import hmac
from typing import Any
from urllib.parse import urlsplit

import rq_dashboard
import rq_dashboard.web as dashboard
from flask import Flask, Response, request
from rq import Worker
from rq.serializers import JSONSerializer

from windlass.queue.connections import connect
from windlass.settings import Login

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'; object-src 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


REDIS_SECONDS = 10.0


class _JsonWorker(Worker):
    """rq-dashboard lists workers without naming a serializer, which fails as soon as one is busy with a JSON job."""

    @classmethod
    def all(cls, *args: Any, **options: Any) -> list[Any]:
        options.setdefault("serializer", JSONSerializer)
        found: list[Any] = Worker.all(*args, **options)
        return found


def make_dashboard_app(redis_url: str, *, login: Login | None = None, prefix: str = "") -> Flask:
    """The dashboard as a WSGI application, below the path ``prefix``; without ``login`` it asks nobody's name."""
    app = Flask(rq_dashboard.__name__, static_url_path=f"{prefix}/static")  # its pages name the application's own
    app.config.from_object(rq_dashboard.default_settings)
    app.config["RQ_DASHBOARD_REDIS_URL"] = redis_url
    app.config["RQ_DASHBOARD_DISABLE_DELETE"] = True
    dashboard.Worker = _JsonWorker
    dashboard.config.serializer = JSONSerializer
    connection = connect(redis_url, seconds=REDIS_SECONDS, connect_seconds=REDIS_SECONDS)
    dashboard.from_url = lambda *_, **__: (None, connection)  # its own knows neither TLS' options nor a pool to keep
    dashboard.setup_rq_connection(app)
    app.before_request(lambda: _refusal(login))
    app.after_request(_with_headers)
    app.register_blueprint(dashboard.blueprint, url_prefix=prefix)
    return app


def _refusal(login: Login | None) -> Response | None:
    """The answer to who may not ask this; None: go on."""
    if login is not None and not _is(login):
        return Response("a username and a password are needed\n", 401, {"WWW-Authenticate": 'Basic realm="Windlass"'})
    changes = request.method not in ("GET", "HEAD") or "/requeue/" in request.path
    if changes and (request.method != "POST" or not _of_this_site()):
        return Response("only by a page of this dashboard\n", 403)
    return None


def _is(login: Login) -> bool:
    given = request.authorization
    if given is None or given.type != "basic":
        return False
    pairs = ((given.username, login.username), (given.password, login.password))
    equal = [hmac.compare_digest((has or "").encode(), wanted.encode()) for has, wanted in pairs]  # all, always
    return all(equal)


def _of_this_site() -> bool:
    """Browsers say where a request comes from; who is no browser carries no visitor's password either."""
    origin = request.headers.get("Origin")
    same = origin is None or urlsplit(origin).netloc == request.host
    return same and request.headers.get("Sec-Fetch-Site", "same-origin") in ("same-origin", "none")


def _with_headers(response: Response) -> Response:
    response.headers.update(HEADERS)
    return response
