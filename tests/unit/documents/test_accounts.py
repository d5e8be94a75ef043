"""As whom an application acts: one account or an error, never Windlass' own rights by mistake."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.documents.accounts import ServiceAccount, account_of, valid_account
from windlass.documents.parse import parse_documents
from windlass.documents.types import AccountRef, Application, Destination
from windlass.errors import PermanentError

DOCUMENT = """\
apiVersion: windlass.dev/v1alpha1
kind: Application
metadata: {{name: shop}}
spec:
  sources: [{{repository: shop, branch: main}}]
  destination: {{cluster: here, {destination}}}
"""


def destination(text: str) -> Destination:
    found = parse_documents(DOCUMENT.format(destination=text).encode(), "a.yaml")
    assert found.errors == []
    application = found.documents[0][0]
    assert isinstance(application, Application)
    return application.spec.destination


@pytest.mark.parametrize(
    ("text", "user"),
    [
        ("namespace: shop, serviceAccount: tenant", "system:serviceaccount:shop:tenant"),
        ("namespace: shop, serviceAccount: 'team:tenant'", "system:serviceaccount:team:tenant"),
        ("serviceAccount: {name: tenant, namespace: team}", "system:serviceaccount:team:tenant"),
        ("namespace: shop, serviceAccount: {name: a.b}", "system:serviceaccount:shop:a.b"),
    ],
)
def test_the_account_and_its_namespace(text: str, user: str) -> None:
    account = account_of(destination(text), default="other")
    assert account is not None
    assert account.user == user


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("namespace: shop, serviceAccount: ''", "expected the name"),
        ("namespace: shop, serviceAccount: ':'", "expected the name"),
        ("namespace: shop, serviceAccount: ':tenant'", "expected the name"),
        ("namespace: shop, serviceAccount: 'team:'", "expected the name"),
        ("namespace: shop, serviceAccount: {name: ''}", "expected the name"),
        ("namespace: shop, serviceAccount: {name: tenant, namespace: ''}", "expected the name"),
        ("namespace: shop, serviceAccount: 'a:b:c'", "expected the name"),
        ('namespace: shop, serviceAccount: "a\\nb"', "expected the name"),
        ("namespace: shop, serviceAccount: Tenant", "expected the name"),
        ("serviceAccount: tenant", "names no namespace"),
        ("serviceAccount: {name: tenant}", "names no namespace"),
    ],
)
def test_half_an_account_is_refused(text: str, message: str) -> None:
    (error,) = parse_documents(DOCUMENT.format(destination=text).encode(), "a.yaml").errors
    assert (error.line, error.field) == (6, "spec.destination.serviceAccount")
    assert message in error.message


def test_without_an_account_and_a_default_windlass_acts_itself() -> None:
    assert account_of(Destination("here", "shop")) is None


def test_the_default_is_for_applications_that_name_none() -> None:
    assert account_of(Destination("here", "shop"), "tenant") == ServiceAccount("shop", "tenant")
    assert account_of(Destination("here"), "team:tenant") == ServiceAccount("team", "tenant")


def test_a_default_that_is_in_no_namespace_is_an_error_and_not_windlass() -> None:
    with pytest.raises(PermanentError, match="tenant names no namespace"):
        account_of(Destination("here"), "tenant")


@given(st.text(max_size=6) | st.builds(AccountRef, st.text(max_size=6), st.none() | st.text(max_size=6)))
def test_whatever_is_valid_is_an_account_that_the_api_server_takes_for_one(ref: str | AccountRef) -> None:
    text = ref if isinstance(ref, str) else ref.name if ref.namespace is None else f"{ref.namespace}:{ref.name}"
    if valid_account(text):
        account = account_of(Destination("here", "shop", ref))
        assert account is not None
        prefix, kind, namespace, name = account.user.split(":")
        assert (prefix, kind) == ("system", "serviceaccount")
        assert namespace
        assert name
