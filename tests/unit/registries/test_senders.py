"""Who is believed: the signature or token that each registry can send, or the secret in its address."""

from __future__ import annotations

import base64
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.registries import REGISTRIES, Presented

SECRET, BODY = b"the-secret", b'{"not": "looked at"}'
BY_HEADER = ["ci", "distribution", "gitlab", "harbor", "azure", "ecr", "google", "cloudevents"]
BY_ADDRESS = ["dockerhub", "quay", "google", "cloudevents"]


def verify(registry: str, headers: dict[str, str] | None = None, url: str = "", *secrets: bytes) -> bool:
    return REGISTRIES[registry].verify(Presented(headers or {}, url), BODY, secrets or (SECRET,))


@pytest.mark.parametrize("registry", BY_HEADER)
@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer the-secret"},
        {"Authorization": "bearer the-secret"},
        {"Authorization": "the-secret"},
        {"Authorization": "Basic " + base64.b64encode(b"windlass:the-secret").decode()},
        {"X-Api-Key": "the-secret"},
    ],
)
def test_a_token_is_sent_in_a_header(registry: str, headers: dict[str, str]) -> None:
    assert verify(registry, headers)
    assert verify(registry, headers, "", b"another", SECRET)
    assert not verify(registry, headers, "", b"another")


@pytest.mark.parametrize("registry", BY_ADDRESS)
def test_who_can_send_no_header_has_the_secret_in_the_address(registry: str) -> None:
    assert verify(registry, {}, "the-secret")
    assert not verify(registry, {}, "the-secreT")


@pytest.mark.parametrize("registry", sorted({*REGISTRIES} - {*BY_ADDRESS}))
def test_an_address_is_no_secret_of_who_can_send_one(registry: str) -> None:
    assert not verify(registry, {}, "the-secret")


@pytest.mark.parametrize("registry", ["dockerhub", "quay"])
def test_a_header_is_nothing_to_who_sends_none(registry: str) -> None:
    assert not verify(registry, {"Authorization": "Bearer the-secret"})


def test_github_signs() -> None:
    signature = "sha256=" + hmac.digest(SECRET, BODY, "sha256").hex()
    assert verify("github", {"X-Hub-Signature-256": signature})
    assert not verify("github", {"X-Hub-Signature-256": signature[:-1] + "0"}) or signature.endswith("0")
    assert not verify("github", {"X-Hub-Signature": "sha1=" + hmac.digest(SECRET, BODY, "sha1").hex()})
    assert not verify("github", {"Authorization": "Bearer the-secret"})


@pytest.mark.parametrize("registry", sorted(REGISTRIES))
def test_nothing_and_an_empty_secret_are_not_believed(registry: str) -> None:
    assert not verify(registry)
    assert not verify(registry, {"Authorization": "", "X-Api-Key": ""}, "", b"")
    assert not verify(registry, {"Authorization": "Bearer "}, "", b"")


@given(
    st.sampled_from(sorted(REGISTRIES)),
    st.dictionaries(st.sampled_from(["Authorization", "X-Api-Key", "X-Hub-Signature-256"]), st.text(max_size=40)),
    st.text(max_size=20),
)
def test_nobody_else_is_believed(registry: str, headers: dict[str, str], url: str) -> None:
    assert not verify(registry, headers, url)
