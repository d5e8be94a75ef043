"""The chart's Redis, and how its processes find one: the rendered command and environment, with a real server."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import AuthenticationError, RedisError

from tests.integration.test_chart import Helm, helm, objects, template
from tests.parts.certificates import authority, issue
from tests.parts.process import Part, answers, free_port
from tests.parts.waiting import until
from windlass.cli.up import redis_server
from windlass.queue.connections import connect
from windlass.settings import Settings

pytestmark = pytest.mark.integration
__all__ = ["helm"]

AWKWARD = "p@ss/wörd \"quoted\" \\ # %2F $HOME 'x'"
SECRETS = {"main-windlass-redis": {"password": AWKWARD}, "redis-password": {"password": AWKWARD}}
PLAIN: dict[str, Any] = {}
TLS: dict[str, Any] = {
    "redis": {
        "embedded": {"enabled": False},
        "external": {"url": "rediss://redis.example:6380/0", "existingSecret": "redis-password", "caSecret": "redis-ca"},
    }
}  # fmt: skip


def pods(rendered: str) -> dict[str, dict[str, Any]]:
    found = [one for one in objects(rendered) if one["kind"] in ("Deployment", "StatefulSet")]
    return {one["metadata"]["name"]: one["spec"]["template"]["spec"] for one in found}


def environment(pod: dict[str, Any]) -> dict[str, str]:
    """What the kubelet gives the container, but for Secrets that are not ours."""
    (container,) = pod["containers"]
    given = {}
    for one in container["env"]:
        of = one.get("valueFrom", {}).get("secretKeyRef")
        given[one["name"]] = SECRETS[of["name"]][of["key"]] if of else one["value"]
    return given


def settings(helm: Helm, values: dict[str, Any], port: int, **more: str) -> Settings:
    """A worker's, its Redis on this machine."""
    given = environment(pods(template(helm, values).stdout)["main-windlass-worker"]) | more
    given["REDIS_URL"] = re.sub(r"//[^/]+", f"//127.0.0.1:{port}", given["REDIS_URL"])
    return Settings.from_env(given)


def pings(url: str) -> bool:
    with connect(url, seconds=5, connect_seconds=5) as redis:
        try:
            return bool(redis.ping())
        except AuthenticationError:
            raise
        except RedisError:
            return False


@pytest.fixture
def started(tmp_path: Path) -> Any:
    parts: list[Part] = []
    ports: list[int] = []

    def start(port: int, *command: str, **environment: str) -> None:
        parts.append(Part("redis", list(command), tmp_path / "redis.log", environment=environment))
        parts[-1].wait_ready(answers(port))
        ports.append(port)

    yield start
    for part in parts:
        part.stop()
    for port in ports:  # the signal reaches the server itself, as it must in a container
        with pytest.raises(ConnectionError):
            answers(port)()


def test_any_password_opens_the_embedded_redis(helm: Helm, started: Callable[..., None], tmp_path: Path) -> None:
    port = free_port()
    (container,) = pods(template(helm, PLAIN).stdout)["main-windlass-redis"]["containers"]
    (script,) = container["args"]
    here = f"exec {redis_server()} - --port {port} --bind 127.0.0.1"
    script = script.replace("/data", str(tmp_path)).replace("exec redis-server -", here)
    command = [*container["command"], script]
    started(port, *command, PATH="/usr/bin:/bin", REDIS_PASSWORD=AWKWARD, MEMORY=str(512 << 20))
    until(lambda: pings(str(settings(helm, PLAIN, port).redis_url)))
    with pytest.raises(AuthenticationError):
        pings(f"redis://:other@127.0.0.1:{port}/0")
    with connect(str(settings(helm, PLAIN, port).redis_url), connect_seconds=5) as redis:
        found = redis.config_get("*")
    assert (found["maxmemory-policy"], found["appendonly"], found["dir"]) == ("noeviction", "yes", str(tmp_path))
    assert int(found["maxmemory"]) == 384 << 20, "three quarters of the limit: it refuses before it is ended"
    (memory,) = [one["valueFrom"] for one in container["env"] if one["name"] == "MEMORY"]
    assert memory == {"resourceFieldRef": {"resource": "limits.memory"}}


def test_an_external_redis_over_tls_is_known_by_its_authority(
    helm: Helm, started: Callable[..., None], tmp_path: Path
) -> None:
    ca, port = authority(), free_port()
    server = issue(ca, "redis", server=True)
    for name, content in (("ca.crt", ca.certificate_pem), ("crt", server.certificate_pem), ("key", server.key_pem)):
        (tmp_path / name).write_bytes(content)
    options = ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no", "--bind", "127.0.0.1"]
    options += ["--tls-cert-file", str(tmp_path / "crt"), "--tls-key-file", str(tmp_path / "key")]
    options += ["--tls-ca-cert-file", str(tmp_path / "ca.crt"), "--requirepass", AWKWARD, "--dir", str(tmp_path)]
    started(port, redis_server(), *options)
    worker = pods(template(helm, TLS).stdout)["main-windlass-worker"]
    (mount,) = [one for one in worker["containers"][0]["volumeMounts"] if one["name"] == "redis-ca"]
    assert environment(worker)["REDIS_CA_FILE"] == f"{mount['mountPath']}/ca.crt"
    assert pings(str(settings(helm, TLS, port, REDIS_CA_FILE=str(tmp_path / "ca.crt")).redis_url))
    other = tmp_path / "other.crt"
    other.write_bytes(authority().certificate_pem)
    assert not pings(str(settings(helm, TLS, port, REDIS_CA_FILE=str(other)).redis_url))


def test_no_container_would_start_as_root_and_each_volume_can_be_written(helm: Helm) -> None:
    """Redis' image names no user, and `runAsNonRoot` refuses it then; ours does, by its number."""
    recipe = (Path(__file__).parents[2] / "Dockerfile").read_text()
    assert int(re.findall(r"^USER (\d+)", recipe, re.MULTILINE)[-1]) > 0
    for name, pod in pods(template(helm, {"dashboard": {"enabled": True, "existingSecret": "d"}}).stdout).items():
        (container,) = pod["containers"]
        security = pod["securityContext"]
        assert security["runAsNonRoot"]
        assert container["image"].startswith("windlass/windlass:") or security["runAsUser"] > 0, name
        assert name != "main-windlass-redis" or security["fsGroup"] == security["runAsUser"]


def test_a_large_user_id_is_written_out(helm: Helm) -> None:
    """Helm's numbers are floats."""
    pod = pods(template(helm, {"redis": {"embedded": {"user": 1000730000}}}).stdout)["main-windlass-redis"]
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 1000730000


def test_openshift_gives_users_and_groups_of_its_own(helm: Helm) -> None:
    """restricted-v2 refuses those that a pod names."""
    command = ["template", "main", "charts/windlass", "--namespace", "windlass", "--kube-version", "1.36.3"]
    command[2] = str(Path(__file__).parents[2] / command[2])
    by_api = helm(*command, "--api-versions", "security.openshift.io/v1").stdout
    by_route = template(helm, {"route": {"enabled": True}}).stdout
    by_value = template(helm, {"redis": {"embedded": {"user": None}}}).stdout
    for rendered in (by_api, by_route, by_value):
        found = pods(rendered)
        assert len(found) == 4
        for pod in found.values():
            (container,) = pod["containers"]
            for security in (pod["securityContext"], container["securityContext"]):
                assert not {"runAsUser", "runAsGroup", "fsGroup"} & security.keys()
