"""No value of a Secret is in an error, a log or what is reported, whatever the server repeats (D1 of the threats)."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from structlog.testing import capture_logs

from workers.kube.errors import ApiError

from .conftest import Harness

CANARY = "canary-3f9a1c"
ENCODED = base64.b64encode(CANARY.encode()).decode()


def secret(kube: Harness, **content: Any) -> dict[str, Any]:
    metadata = {"name": "s", "namespace": kube.namespace, **content.pop("metadata", {})}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, **content}


def assert_silent(error: ApiError, logs: object) -> None:
    told = repr((str(error), error.args, error.message, error.causes, getattr(error, "conflicts", ()), logs))
    chain: BaseException | None = error
    while chain is not None:
        told += repr(chain)
        chain = chain.__cause__ or chain.__context__
    assert CANARY not in told
    assert ENCODED not in told


@pytest.mark.parametrize(
    ("content", "names"),
    [
        pytest.param({"data": {"password": CANARY + "!"}}, "", id="not base64"),
        pytest.param({"data": {"password": {"nested": CANARY}}}, ".data.password", id="not a string"),
        pytest.param({"stringData": {"password": [CANARY]}}, ".stringData.password", id="a list"),
        pytest.param({"data": {CANARY + "/bad": "eA=="}}, None, id="an invalid key"),
        pytest.param({"type": CANARY, "data": ENCODED}, ".data", id="data is no map"),
        pytest.param({"immutable": CANARY}, ".immutable", id="wrong type elsewhere"),
        pytest.param({"metadata": {"annotations": {"x": {"y": CANARY}}}}, "", id="in metadata"),
        pytest.param(
            {"type": "kubernetes.io/tls", "data": {"tls.crt": ENCODED}}, "data[tls.key]", id="a field is missing"
        ),
        pytest.param({"unknown": CANARY, "data": {"a": ENCODED}}, "", id="an unknown field"),
    ],
)
async def test_an_invalid_secret_is_refused_without_its_values(
    kube: Harness, content: dict[str, Any], names: str | None
) -> None:
    with capture_logs() as logs, pytest.raises(ApiError) as caught:
        await kube.apply("web", secret(kube, **content))
    if names is None:  # the key itself is at fault, and a key is no secret: the server's field path holds it
        assert str(caught.value).startswith("Invalid: data[")
        return
    assert names in str(caught.value)
    assert_silent(caught.value, logs)


async def test_a_conflict_over_a_secret_names_fields_and_managers_only(kube: Harness) -> None:
    await kube.create_as("operator", secret(kube, data={"password": ENCODED}))
    other = base64.b64encode(b"mine").decode()
    with capture_logs() as logs, pytest.raises(ApiError, match=r"\.data\.password \(operator\)") as caught:
        await kube.apply("web", secret(kube, data={"password": other}))
    assert_silent(caught.value, logs)


async def test_what_is_taken_over_is_told_without_values(kube: Harness) -> None:
    await kube.create_as("kubectl-client-side-apply", secret(kube, data={"password": ENCODED, "extra": ENCODED}))
    with capture_logs() as logs:
        applied = await kube.apply("web", secret(kube, data={"password": "eA=="}))
    assert applied.took
    assert ENCODED not in repr((applied, logs))
    assert CANARY not in repr((applied, logs))


async def test_an_immutable_secret_that_changes_is_refused_without_its_values(kube: Harness) -> None:
    await kube.apply("web", secret(kube, immutable=True, data={"password": "eA=="}))
    with pytest.raises(ApiError, match="data") as caught:
        await kube.apply("web", secret(kube, immutable=True, stringData={"password": CANARY}))
    assert_silent(caught.value, ())
