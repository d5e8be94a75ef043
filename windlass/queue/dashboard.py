"""rq-dashboard for the queue, reading jobs as JSON: its default, pickle, would run what anybody put into Redis.

It asks nobody's name: serve it on loopback, or behind something that does.
"""

from __future__ import annotations

from typing import Any

import rq_dashboard
import rq_dashboard.web as dashboard
from flask import Flask
from rq import Worker
from rq.serializers import JSONSerializer


class _JsonWorker(Worker):
    """rq-dashboard lists workers without naming a serializer, which fails as soon as one is busy with a JSON job."""

    @classmethod
    def all(cls, *args: Any, **options: Any) -> list[Any]:
        options.setdefault("serializer", JSONSerializer)
        found: list[Any] = Worker.all(*args, **options)
        return found


def make_dashboard_app(redis_url: str) -> Flask:
    """The dashboard as a WSGI application."""
    app = Flask(__name__)
    app.config.from_object(rq_dashboard.default_settings)
    app.config["RQ_DASHBOARD_REDIS_URL"] = redis_url
    app.config["RQ_DASHBOARD_DISABLE_DELETE"] = True
    dashboard.Worker = _JsonWorker
    dashboard.config.serializer = JSONSerializer
    dashboard.setup_rq_connection(app)
    app.register_blueprint(dashboard.blueprint, url_prefix="")
    return app
