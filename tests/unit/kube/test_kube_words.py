"""Keys, errors, the dress of a member, and the ApplySet's id: the small pure parts of the cluster's client."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.kube.applyset import applyset_id
from workers.kube.dress import dress
from workers.kube.errors import LONGEST_MESSAGE, from_answer
from workers.kube.keys import ObjectKey
from workers.kube.managed_fields import HASH, PART_OF

NAME = st.from_regex(r"[a-z0-9]([-a-z0-9.:]{0,20}[a-z0-9])?", fullmatch=True)
KIND = st.from_regex(r"[A-Z][A-Za-z0-9]{0,15}", fullmatch=True)


@given(st.one_of(st.just(""), NAME.filter(lambda text: ":" not in text)), KIND, st.one_of(st.just(""), NAME), NAME)
def test_a_key_is_read_back_as_it_was_written(group: str, kind: str, namespace: str, name: str) -> None:
    key = ObjectKey(group, kind, namespace, name)
    assert ObjectKey.parse(str(key)) == key


def test_keys_look_as_people_write_them() -> None:
    assert str(ObjectKey("apps", "Deployment", "shop", "web")) == "Deployment.apps/shop/web"
    assert str(ObjectKey("", "Namespace", "", "shop")) == "Namespace/shop"


@pytest.mark.parametrize("text", ["", "ConfigMap", "ConfigMap//x", "a/b/c/d", "/x"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an object's key"):
        ObjectKey.parse(text)


def test_the_id_is_that_of_the_specification() -> None:
    """base64url(sha256("application-web.windlass.ConfigMap.")) without padding, between a prefix and the version."""
    assert applyset_id("web", "windlass") == "applyset-Wa9YtqDT7zA2aeMcvYfnoyYy9SvjhGi7JDWJo8yhUec-v1"
    assert len(applyset_id("w" * 200, "windlass")) <= 63


def test_a_member_is_marked_on_a_copy() -> None:
    body: dict[str, Any] = {"kind": "ConfigMap", "metadata": {"name": "x", "labels": {"a": "1"}, "annotations": None}}
    dressed = dress(body, "id", "hash")
    assert dressed["metadata"]["labels"] == {"a": "1", PART_OF: "id"}
    assert dressed["metadata"]["annotations"] == {HASH: "hash"}
    assert body == {"kind": "ConfigMap", "metadata": {"name": "x", "labels": {"a": "1"}, "annotations": None}}


def test_what_only_the_server_sets_is_left_out() -> None:
    metadata = {"name": "x", "uid": "u", "resourceVersion": "1", "managedFields": [], "creationTimestamp": None}
    dressed = dress({"kind": "ConfigMap", "metadata": metadata}, "id", "hash")
    assert set(dressed["metadata"]) == {"name", "labels", "annotations"}


def test_string_data_is_folded_into_data_and_wins() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "eA==", "b": "eA=="}}
    dressed = dress({**secret, "stringData": {"b": "y", "ü": "ü"}}, "id", "hash")
    assert dressed["data"] == {"a": "eA==", "b": "eQ==", "ü": "w7w="}
    assert "stringData" not in dressed
    assert "stringData" in dress({**secret, "stringData": {"b": 1}}, "id", "hash"), "the server says what is wrong"


def status(message: str, *, reason: str = "Invalid", causes: list[dict[str, str]] | None = None) -> bytes:
    return orjson.dumps({"kind": "Status", "message": message, "reason": reason, "details": {"causes": causes or []}})


def test_an_error_says_what_the_server_said_but_not_at_any_length() -> None:
    assert str(from_answer(422, status("spec.replicas: must not be negative"), secret=False)).startswith(
        "spec.replicas"
    )
    assert len(str(from_answer(422, status("x" * 10_000), secret=False))) == LONGEST_MESSAGE


@pytest.mark.parametrize(
    ("message", "causes", "told"),
    [
        ("data[k]: Invalid value: CANARY", [{"field": "data[k]", "message": "CANARY"}], "Invalid: data[k]"),
        (
            "failed to create typed patch object (ns/s; /v1, Kind=Secret): .data.k: expected string, got CANARY",
            [],
            "Invalid: .data.k",
        ),
        ("something about CANARY", [], "Invalid (details of Secrets are withheld)"),
        (".CANARY", [], "Invalid (details of Secrets are withheld)"),
    ],
)
def test_an_error_about_a_secret_is_its_reason_and_its_fields(
    message: str, causes: list[dict[str, str]], told: str
) -> None:
    error = from_answer(422, status(message, causes=causes), secret=True)
    assert str(error) == told
    assert "CANARY" not in repr((error.args, error.causes, error.message))


@pytest.mark.parametrize(("code", "retryable"), [(400, False), (422, False), (403, True), (404, True), (500, True)])
def test_what_only_another_manifest_mends_is_not_tried_again(code: int, *, retryable: bool) -> None:
    assert from_answer(code, b"", secret=False).retryable is retryable


@given(st.binary(max_size=200))
def test_no_answer_of_a_server_breaks_the_error(body: bytes) -> None:
    assert str(from_answer(500, body, secret=False))
    assert str(from_answer(500, body, secret=True))


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=5) | st.integers(),
        lambda c: (
            st.lists(c, max_size=3)
            | st.dictionaries(st.sampled_from(["message", "details", "causes", "reason"]), c, max_size=4)
        ),
    )
)
def test_nor_one_of_an_unusual_shape(document: Any) -> None:
    try:
        body = orjson.dumps(document)
    except TypeError:
        return
    assert str(from_answer(500, body, secret=False))
