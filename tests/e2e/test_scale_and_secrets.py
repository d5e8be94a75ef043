"""Ten thousand objects cost what changes, and a Secret's value is nowhere but in Git and in the cluster."""

from __future__ import annotations

import base64

import pytest
import redis

from tests.e2e.world import World, config_map

pytestmark = pytest.mark.e2e
CANARY = "canary-c0ffee-9d41"


def test_one_change_among_ten_thousand_objects_is_one_write(world: World) -> None:
    commit = world.work.commit_and_push({f"manifests/m{i}.yaml": config_map(f"m{i}", "1") for i in range(10_000)})
    world.deliver(commit)
    world.applied(commit, 180)
    run = world.push({"manifests/m7.yaml": config_map("m7", "2")})
    assert (run.applied, run.pruned, run.errors) == (1, 0, [])
    assert world.value("m7") == "2"


def everything_in_redis(url: str) -> bytes:
    """Every key and value, read by its type: a dump is compressed."""
    with redis.Redis.from_url(url) as connection:
        read = {
            b"string": connection.get,
            b"hash": connection.hgetall,
            b"list": lambda key: connection.lrange(key, 0, -1),
            b"set": connection.smembers,
            b"zset": lambda key: connection.zrange(key, 0, -1),
            b"stream": connection.xrange,
        }
        return b"\n".join(
            repr((key, read[connection.type(key)](key))).encode() for key in connection.scan_iter(count=1000)
        )


def test_a_secrets_value_is_in_no_log_no_answer_and_not_in_redis(world: World) -> None:
    secret = f"apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\nstringData:\n  password: {CANARY}\n"
    assert world.push({"manifests/secret.yaml": secret}).applied == 1
    wrong = f"apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\ndata:\n  password: '{CANARY}'\ntype: 7{CANARY}\n"
    failed = world.push({"manifests/secret.yaml": wrong})
    assert failed.errors
    told = world.windlass.log() + "".join(failed.errors)
    for command in (("status",), ("status", "--json"), ("history", world.name, "--json")):
        answer = world.windlass.run(*command)
        told += answer.stdout + answer.stderr
    kept = everything_in_redis(world.redis.url)
    for form in (CANARY, base64.b64encode(CANARY.encode()).decode()):
        assert form not in told
        assert form.encode() not in kept
