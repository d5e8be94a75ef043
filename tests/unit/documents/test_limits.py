"""What applications of a repository may touch: patterns of clusters, namespaces and kinds."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.documents.catalog import Catalog, build
from windlass.documents.catalog import Placed as At
from windlass.documents.limits import refuse_object
from windlass.documents.parse import parse_documents
from windlass.documents.types import Limits


def limits(**fields: Any) -> Limits:
    return msgspec.convert(fields, Limits)


def repository(text: str) -> str:
    return (
        "apiVersion: windlass.dev/v1alpha1\nkind: Repository\nmetadata: {name: shop}\n"
        f"spec:\n  url: https://git.example/shop.git\n  limits: {text}\n"
    )


def catalog(text: str, destination: str) -> Catalog:
    rest = (
        "---\napiVersion: windlass.dev/v1alpha1\nkind: Cluster\nmetadata: {name: production}\nspec: {inCluster: true}\n"
        "---\napiVersion: windlass.dev/v1alpha1\nkind: Application\nmetadata: {name: web}\nspec:\n"
        f"  sources: [{{repository: shop, branch: main}}]\n  destination: {destination}\n"
    )
    read = parse_documents((repository(text) + rest).encode(), "a.yaml")
    assert read.errors == []
    return build(At(document, "a.yaml", line) for document, line in read.documents)


@pytest.mark.parametrize(
    ("fields", "group_kind", "namespace", "reason"),
    [
        ({}, "Deployment.apps", "shop", ""),
        ({"namespaces": ["shop", "shop-*"]}, "Deployment.apps", "shop-eu", ""),
        ({"namespaces": ["shop-*"]}, "Deployment.apps", "bank", "do not allow the namespace bank: expected shop-*"),
        ({"namespaces": []}, "ConfigMap", "shop", "do not allow the namespace shop: none is allowed"),
        ({"kinds": {"allow": ["ConfigMap", "*.apps"]}}, "Deployment.apps", "shop", ""),
        ({"kinds": {"allow": ["Deployment"]}}, "Deployment.apps", "shop", "do not allow Deployment.apps"),
        ({"kinds": {"allow": ["ConfigMap"]}}, "Secret", "shop", "do not allow Secret: expected ConfigMap"),
        ({"kinds": {"deny": ["Secret"]}}, "Secret", "shop", "deny Secret"),
        ({"kinds": {"deny": ["Ingress"]}}, "Ingress.networking.k8s.io", "shop", "deny Ingress.networking.k8s.io"),
        ({"kinds": {"deny": ["*.rbac.authorization.k8s.io"]}}, "Role.rbac.authorization.k8s.io", "shop", "deny Role"),
        ({"kinds": {"allow": ["Secret"], "deny": ["Secret"]}}, "Secret", "shop", "deny Secret"),
        ({}, "ClusterRole.rbac.authorization.k8s.io", "", "no objects of the whole cluster"),
        ({"clusterScoped": True}, "ClusterRole.rbac.authorization.k8s.io", "", ""),
        ({"clusterScoped": True, "namespaces": ["shop"]}, "ClusterRole.rbac.authorization.k8s.io", "", ""),
    ],
)
def test_an_object(fields: dict[str, Any], group_kind: str, namespace: str, reason: str) -> None:
    refused = refuse_object(limits(**fields), group_kind, namespace, "x")
    assert reason in refused
    assert bool(reason) == bool(refused)


def test_a_namespace_is_in_the_limits_by_its_own_name() -> None:
    allowed = limits(clusterScoped=True, namespaces=["shop-*"])
    assert refuse_object(allowed, "Namespace", "", "shop-eu") == ""
    assert "kube-system" in refuse_object(allowed, "Namespace", "", "kube-system")
    assert refuse_object(limits(namespaces=["shop-*"]), "Namespace", "", "shop-eu") != ""


@pytest.mark.parametrize(
    ("text", "destination", "error"),
    [
        ("{}", "{cluster: production, namespace: shop}", None),
        ("{clusters: [prod*], namespaces: [shop]}", "{cluster: production, namespace: shop}", None),
        ("{clusters: [staging]}", "{cluster: production}", ("spec.destination.cluster", "expected staging")),
        ("{clusters: []}", "{cluster: production}", ("spec.destination.cluster", "none is allowed")),
        (
            "{namespaces: [shop-*]}",
            "{cluster: production, namespace: bank}",
            ("spec.destination.namespace", "expected shop-*"),
        ),
    ],
)
def test_a_destination_outside_is_an_error_of_the_application(
    text: str, destination: str, error: tuple[str, str] | None
) -> None:
    found = catalog(text, destination)
    if error is None:
        assert (found.errors, list(found.applications)) == ((), ["web"])
        return
    assert found.applications == {}
    assert [(problem.file, problem.field) for problem in found.errors] == [("a.yaml", error[0])]
    assert error[1] in found.errors[0].message


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("{namespaces: ['']}", "namespaces[0]"),
        ("{namespaces: [Shop]}", "namespaces[0]"),
        ("{clusters: [a, a/b]}", "clusters[1]"),
        ("{kinds: {allow: [deployment.apps]}}", "kinds.allow[0]"),
        ("{kinds: {deny: [apps/v1/Deployment]}}", "kinds.deny[0]"),
        ("{kinds: {deny: [Secret.]}}", "kinds.deny[0]"),
        ("{clusters: ['" + "a" * 254 + "']}", "clusters[0]"),
        ("{kinds: [Secret]}", "kinds"),
        ("{kind: {}}", "kind"),
        ("{clusterScoped: 1}", "clusterScoped"),
    ],
)
def test_a_pattern_that_could_match_nothing_is_refused(text: str, field: str) -> None:
    (error,) = parse_documents(repository(text).encode(), "a.yaml").errors
    assert (error.line, error.field) == (6, f"spec.limits.{field}")


names = st.from_regex(r"[a-z][a-z-]{0,4}", fullmatch=True)
patterns = st.from_regex(r"[a-z*?]{1,4}", fullmatch=True)
kinds = st.sampled_from(
    ["Secret", "ConfigMap", "Deployment.apps", "Role.rbac.authorization.k8s.io", "Ingress.networking"]
)


@given(
    st.none() | st.lists(patterns, max_size=3),
    st.none() | st.lists(kinds, max_size=3),
    st.lists(kinds, max_size=3),
    kinds,
    names,
)
def test_what_is_allowed_is_named_by_every_list_and_denied_by_none(
    namespaces: list[str] | None, allow: list[str] | None, deny: list[str], kind: str, namespace: str
) -> None:
    fields = {"kinds": {"deny": deny} if allow is None else {"allow": allow, "deny": deny}}
    refused = refuse_object(limits(namespaces=namespaces, **fields), kind, namespace, "x")
    allowed = (
        (namespaces is None or any(fnmatchcase(namespace, pattern) for pattern in namespaces))
        and (allow is None or kind in allow)
        and kind not in deny
    )
    assert (refused == "") == allowed
