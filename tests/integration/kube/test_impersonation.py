"""An application acts as its ServiceAccount: the API server itself says who asked, and what that account may not do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from windlass.documents.accounts import ServiceAccount
from windlass.documents.types import Cluster
from windlass.secrets import Secrets
from workers.cluster import ClusterAccess
from workers.kube.apply import Applier
from workers.kube.connect import Connection, client_of
from workers.kube.errors import ApiError
from workers.kube.transport import KubeClient

from .conftest import Harness

RBAC = "/apis/rbac.authorization.k8s.io/v1"
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
WHO_AM_I = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


async def post(client: KubeClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = (await client.request("POST", path, body=orjson.dumps(body))).json()
    return answer


async def who(client: KubeClient) -> dict[str, Any]:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    user: dict[str, Any] = (await post(client, WHO_AM_I, body))["status"]["userInfo"]
    return user


async def allow(kube: Harness, account: str, *rules: dict[str, Any]) -> None:
    """Give the account of the test's namespace these rights there."""
    place = f"{RBAC}/namespaces/{kube.namespace}"
    metadata = {"name": account, "namespace": kube.namespace}
    group = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": metadata}
    await post(kube.client, f"{place}/roles", {**group, "kind": "Role", "rules": list(rules)})
    binding = {
        **group,
        "kind": "RoleBinding",
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": kube.namespace}],
    }
    await post(kube.client, f"{place}/rolebindings", binding)
    for rule in rules:
        name = rule.get("resourceNames", [""])[0]
        wanted = {"namespace": kube.namespace, "verb": rule["verbs"][0], "group": rule["apiGroups"][0], "name": name}
        user = ServiceAccount(kube.namespace, account).user
        await effective(kube, user, {**wanted, "resource": rule["resources"][0]})


async def effective(kube: Harness, user: str, attributes: dict[str, str]) -> None:
    """Wait until the authorizer has heard of what the API server has stored."""
    spec = {"user": user, "groups": ["system:authenticated"], "resourceAttributes": attributes}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    for _ in range(300):
        if (await post(kube.client, REVIEWS, body))["status"]["allowed"]:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{user} was never allowed {attributes}")


CONFIG_MAPS = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create", "patch", "delete"]}


@pytest.fixture
async def tenant(kube: Harness) -> ServiceAccount:
    """An account that may have ConfigMaps in the test's namespace, and nothing else."""
    await allow(kube, "tenant", CONFIG_MAPS)
    return ServiceAccount(kube.namespace, "tenant")


@pytest.fixture
def access(kube: Harness, cluster: Cluster) -> ClusterAccess:
    found = ClusterAccess(cluster, kube.client)
    found.discovery = kube.discovery
    return found


def applier(kube: Harness, access: ClusterAccess, account: ServiceAccount | None) -> Applier:
    return Applier(access.members(account), "shop", kube.applyset("shop").id)


@pytest.fixture(autouse=True)
async def started(kube: Harness) -> None:
    """A new API server makes its own roles a moment after it serves."""
    await effective(kube, "x", {"verb": "create", "group": "authentication.k8s.io", "resource": "selfsubjectreviews"})


async def test_the_api_server_sees_the_account_and_the_groups_of_a_service_account(kube: Harness) -> None:
    account = ServiceAccount(kube.namespace, "tenant")
    user = await who(kube.client.acting_as(account.user))
    assert user["username"] == f"system:serviceaccount:{kube.namespace}:tenant"
    groups = {"system:serviceaccounts", f"system:serviceaccounts:{kube.namespace}", "system:authenticated"}
    assert set(user["groups"]) == groups


async def test_a_view_leaves_the_client_as_it_was_and_shares_connections_and_limiter(kube: Harness) -> None:
    before = await who(kube.client)
    view = kube.client.acting_as("system:serviceaccount:a:b")
    assert (await who(view))["username"] != before["username"]
    assert await who(kube.client) == before
    assert view.limiter is kube.client.limiter
    assert view._pool is kube.client._pool


async def test_nobody_is_refused_before_anything_is_sent(kube: Harness) -> None:
    with pytest.raises(ValueError, match="empty"):
        kube.client.acting_as("")


async def test_what_the_account_may_write_is_written_and_deleted(
    kube: Harness, access: ClusterAccess, tenant: ServiceAccount
) -> None:
    body = kube.config_map(a="1")
    await applier(kube, access, tenant).apply(await kube.resource(body), body, digest="h")
    assert (await kube.live(body))["data"] == {"a": "1"}
    result = await access.prune(
        kube.key(body), "v1", "shop", kube.applyset("shop").id, account=tenant, deadline=lambda: 10.0
    )
    assert result == "deleted"
    assert await kube.get(body) is None


async def test_taking_over_what_a_person_changed_is_the_accounts_too(
    kube: Harness, access: ClusterAccess, tenant: ServiceAccount
) -> None:
    body = kube.config_map(a="1")
    await kube.create_as("kubectl-create", kube.config_map(a="2", b="theirs"))
    applied = await applier(kube, access, tenant).apply(await kube.resource(body), body, digest="h")
    assert applied.took
    assert (await kube.live(body))["data"] == {"a": "1"}


def escapes(kube: Harness) -> dict[str, dict[str, Any]]:
    """What a tenant might push, by what the API server says that the account cannot do."""
    admin = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    elsewhere = kube.config_map()
    elsewhere["metadata"]["namespace"] = "kube-system"
    labels = {"pod-security.kubernetes.io/enforce": "privileged"}
    rbac = "rbac.authorization.k8s.io/v1"
    return {
        'cannot patch resource "configmaps" in API group "" in the namespace "kube-system"': elsewhere,
        'cannot patch resource "clusterroles" in API group "rbac.authorization.k8s.io" at the cluster scope': {
            "apiVersion": rbac,
            "kind": "ClusterRole",
            "metadata": {"name": f"{kube.namespace}-escape"},
            "rules": [admin],
        },
        'cannot patch resource "namespaces" in API group "" in the namespace': {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": kube.namespace, "labels": labels},
        },
        'cannot patch resource "secrets" in API group "" in the namespace': {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "of-others", "namespace": kube.namespace},
            "stringData": {"password": "canary"},
        },
    }


@pytest.mark.parametrize("place", range(4), ids=["other namespace", "ClusterRole", "Pod Security labels", "Secret"])
async def test_an_escape_fails_with_the_api_servers_own_403(
    kube: Harness, access: ClusterAccess, tenant: ServiceAccount, place: int
) -> None:
    message, body = list(escapes(kube).items())[place]
    with pytest.raises(ApiError) as caught:
        await applier(kube, access, tenant).apply(await kube.resource(body), body, digest="h")
    assert caught.value.forbidden
    assert f'User "{tenant.user}" {message}' in str(caught.value)
    assert "canary" not in str(caught.value)


async def test_rights_cannot_be_given_that_the_account_does_not_have(kube: Harness, access: ClusterAccess) -> None:
    rbac = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["get", "create", "patch"]}
    await allow(kube, "climber", rbac)
    body = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "more", "namespace": kube.namespace},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]}],
    }
    with pytest.raises(ApiError, match="attempting to grant RBAC permissions not currently held"):
        await applier(kube, access, ServiceAccount(kube.namespace, "climber")).apply(
            await kube.resource(body), body, digest="h"
        )


async def test_an_object_that_the_account_may_not_delete_stays(
    kube: Harness, access: ClusterAccess, tenant: ServiceAccount
) -> None:
    body = kube.deployment()
    await kube.apply("shop", body)
    with pytest.raises(ApiError) as caught:
        await access.prune(
            kube.key(body), "apps/v1", "shop", kube.applyset("shop").id, account=tenant, deadline=lambda: 10.0
        )
    assert caught.value.forbidden
    assert await kube.get(body) is not None


async def test_the_parent_and_lists_need_no_right_of_the_account(
    kube: Harness, access: ClusterAccess, tenant: ServiceAccount
) -> None:
    applyset, body = kube.applyset("shop"), kube.config_map()
    await applyset.ensure({"ConfigMap"}, {kube.namespace}, revision="c")
    await applier(kube, access, tenant).apply(await kube.resource(body), body, digest="h")
    members, unlisted = await applyset.members(kube.discovery)
    assert ([str(member.key) for member in members], unlisted) == ([f"ConfigMap/{kube.namespace}/x"], {})
    with pytest.raises(ApiError) as caught:
        await access.members(tenant).request("GET", f"/api/v1/namespaces/{kube.windlass}/configmaps")
    assert caught.value.forbidden


@pytest.fixture
async def modest(kube: Harness, cluster: Cluster, connection: Connection) -> AsyncIterator[KubeClient]:
    """Windlass with a token whose only right is to impersonate the account ``tenant`` of one namespace."""
    rule = {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"], "resourceNames": ["tenant"]}
    await allow(kube, "windlass", rule)
    place = f"/api/v1/namespaces/{kube.namespace}/serviceaccounts"
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "windlass"}}
    await post(kube.client, place, account)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = (await post(kube.client, f"{place}/windlass/token", request))["status"]["token"]
    plain = Connection(connection.server, ca=connection.ca, authorization=f"Bearer {token}")
    client = await client_of(plain, cluster, Secrets())
    yield client
    await client.close()


async def test_the_right_to_impersonate_one_account_is_enough_and_reaches_no_other(
    kube: Harness, modest: KubeClient, tenant: ServiceAccount
) -> None:
    assert (await who(modest.acting_as(tenant.user)))["username"] == tenant.user
    with pytest.raises(ApiError) as caught:
        await who(modest.acting_as(f"system:serviceaccount:{kube.namespace}:admin"))
    assert caught.value.forbidden
    assert "cannot impersonate" in str(caught.value)
