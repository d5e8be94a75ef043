"""Where processes listen: as the chart starts them, they answer over IPv4 and over IPv6."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.parts.process import free_port
from tests.parts.waiting import until
from tests.parts.windlass import Dashboard, Windlass
from windlass.errors import WindlassError
from windlass.listening import listener

pytestmark = pytest.mark.integration

EVERYWHERE = {"WINDLASS_HOST": "::", "WINDLASS_DASHBOARD_USERNAME": "ops", "WINDLASS_DASHBOARD_PASSWORD": "secret"}


def status(host: str, port: int, path: str) -> int:
    """What is answered; 0 if nobody is there."""
    try:
        with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (urllib.error.URLError, ConnectionError):
        return 0


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_each_process_answers_over_both_families(redis_url: str, tmp_path: Path, host: str) -> None:
    """The kubelet's probes go to a pod's address, of whichever family that is."""
    metrics = {name: free_port() for name in ("service", "watcher", "worker")}
    windlass = Windlass(tmp_path, redis_url, **EVERYWHERE)
    windlass.settings = {name: {"WINDLASS_METRICS_PORT": str(port)} for name, port in metrics.items()}
    dashboard = Dashboard(windlass, "--host", "::")
    try:
        windlass.workers = [windlass.spawn(name) for name in metrics]
        with dashboard:
            asked = [(port, "/healthz", 200) for port in (*metrics.values(), windlass.port)]
            for port, path, expected in [*asked, (dashboard.port, "/", 401)]:
                until(
                    lambda port=port, path=path, expected=expected: status(host, port, path) == expected,
                    show=lambda: "\n".join(windlass.log(name) for name in (*metrics, "dashboard")),
                )
    finally:
        windlass.stop()


def test_a_kernel_without_ipv6_listens_on_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with listener("::", 0) as bound:
        assert bound.family == socket.AF_INET


def test_an_address_that_is_taken_or_is_none_is_said() -> None:
    with listener("127.0.0.1", 0) as bound:
        bound.listen()
        port = bound.getsockname()[1]
        with pytest.raises(WindlassError, match=f"can't listen on 127.0.0.1:{port}: "):
            listener("127.0.0.1", port)
    with pytest.raises(WindlassError, match=r"can't listen on no\.such\.host\.invalid:1: "):
        listener("no.such.host.invalid", 1)
