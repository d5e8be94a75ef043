"""Every documented delivery becomes the event that it means; any other bytes are an event or a PayloadError."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from tests.webhooks import Sample, sample, samples
from windlass.events import Event, Ignored, PullRequestEvent, PushEvent
from windlass.forges import FORGES, PayloadError, addresses, all_addresses, forge

EVENTS = {
    "github": ("X-GitHub-Event", ["push", "pull_request"]),
    "gitea": ("X-Gitea-Event", ["push", "pull_request"]),
    "bitbucket": ("X-Event-Key", ["repo:push", "pullrequest:fulfilled", "pullrequest:rejected"]),
    "bitbucket-server": ("X-Event-Key", ["repo:refs_changed", "pr:merged", "pr:declined"]),
}


def parsed(item: Sample, body: bytes | None = None) -> Event:
    return forge(item.forge).parse(CIMultiDict(item.headers), item.raw if body is None else body)


@pytest.mark.parametrize("item", samples(), ids=lambda item: item.name)
def test_a_documented_delivery_becomes_the_event_that_it_means(item: Sample) -> None:
    event = parsed(item)
    assert event.delivery == item.expect["delivery"]
    if isinstance(event, Ignored):
        assert item.expect["ignored"] in event.reason
        return
    found = {
        "repositories": list(event.repositories),
        "updates": [{"ref": u.ref, "after": u.after, "before": u.before} for u in event.updates],
        "delivery": event.delivery,
        "kind": event.kind,
    }
    if isinstance(event, PullRequestEvent):
        found["pull"] = {"number": event.number, "head": event.head, "base": event.base}
    assert found == item.expect


@pytest.mark.parametrize("item", [i for i in samples() if "updates" in i.expect], ids=lambda item: item.name)
def test_its_repository_is_found_by_the_url_in_our_documents(item: Sample) -> None:
    event = parsed(item)
    assert isinstance(event, PushEvent | PullRequestEvent)
    assert addresses(item.forge, event.repositories) & all_addresses(item.forge, item.url)


def test_a_form_encoded_delivery_is_the_same_event() -> None:
    item = sample("github-push")
    headers = CIMultiDict({**item.headers, "Content-Type": "application/x-www-form-urlencoded"})
    body = urlencode({"payload": item.raw.decode()}).encode()
    assert forge("github").parse(headers, body) == parsed(item)
    for broken in (b"", b"payload=", b"payload=1&payload=2", b"\xff=\xfe", b"&".join([b"a=b"] * 50)):
        with pytest.raises(PayloadError):
            forge("github").parse(headers, broken)


@pytest.mark.parametrize(
    ("name", "change", "field"),
    [
        ("github-push", {"ref": None}, "$.ref"),
        ("github-push", {"ref": "main"}, "$.ref"),
        ("github-push", {"ref": "refs/heads/ma\nin"}, "$.ref"),
        ("github-push", {"after": "HEAD"}, "$.after"),
        ("github-push", {"after": "a" * 40 + "\n"}, "$.after"),
        ("github-push", {"repository": {"clone_url": 7}}, "$.repository.clone_url"),
        ("github-pull-request-merged", {"pull_request": {}}, "$.pull_request"),
        ("gitlab-push", {"project": []}, "$.project"),
        ("gitlab-push", {"project": {}}, "URL"),
        ("gitlab-push", {"object_kind": None, "event_name": None}, "object_kind"),
        ("bitbucket-push", {"push": {"changes": None}}, "$.push.changes"),
        ("bitbucket-push", {"push": {"changes": [{"new": {"type": "branch"}}]}}, "$.push.changes[0].new"),
        ("bitbucket-server-push", {"changes": [{}]}, "$.changes[0]"),
        ("bitbucket-server-push", {"repository": {"slug": "x", "project": None}}, "$.repository.project"),
        ("azure-push", {"resource": {"refUpdates": {}}}, "$.resource.refUpdates"),
        ("azure-push", {"resource": None}, "$.resource"),
        ("azure-push", {"eventType": None}, "$.eventType"),
        ("generic-push", {"updates": [{"ref": "refs/heads/main"}]}, "after"),
        ("generic-push", {"repositry": "x"}, "repositry"),
    ],
)
def test_a_wrong_shape_names_its_field(name: str, change: dict[str, Any], field: str) -> None:
    item = sample(name)
    with pytest.raises(PayloadError) as error:
        parsed(item, json.dumps(item.body | change).encode())
    assert field in str(error.value)


def test_an_empty_push_is_ignored() -> None:
    item = sample("azure-push")
    body = item.body | {"resource": item.body["resource"] | {"refUpdates": []}}
    event = parsed(item, json.dumps(body).encode())
    assert event == Ignored("the push moved no ref", item.expect["delivery"])


@pytest.mark.parametrize("name", ["github-push", "gitea-push", "bitbucket-push", "bitbucket-server-push"])
def test_a_missing_event_header_is_named(name: str) -> None:
    item = sample(name)
    with pytest.raises(PayloadError, match=EVENTS[item.forge][0]):
        forge(item.forge).parse({}, item.raw)


@pytest.mark.parametrize("delivery", ["", "a" * 65, "x y", "../..", "{uuid}", "id\r\nX-Other: 1", "ü"])
def test_a_delivery_id_unfit_for_logs_is_dropped(delivery: str) -> None:
    item = sample("generic-push")
    event = forge("generic").parse({"X-Windlass-Delivery": delivery}, item.raw)
    assert event.delivery == ""


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(
        ["", "refs/heads/main", "refs/", "a" * 40, "0" * 40, "https://h/.*", "git@h:x", "://", "[::", "\x00", "é"]
    )
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, item in inner for path in paths(item, (*at, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any, *, drop: bool) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    if drop and len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = replaced(value[path[0]], path[1:], new, drop=drop)
    return copy


@settings(max_examples=800, deadline=None)
@given(data=st.data())
def test_a_damaged_delivery_is_an_event_or_a_payload_error(data: st.DataObject) -> None:
    item = data.draw(st.sampled_from(samples()))
    body = item.body
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(paths(body)))
        body = replaced(body, path, data.draw(VALUES), drop=data.draw(st.booleans()))
    headers = dict(item.headers)
    if item.forge in EVENTS:
        name, events = EVENTS[item.forge]
        headers[name] = data.draw(st.sampled_from([*events, "ping", headers[name]]))
    try:
        event = forge(item.forge).parse(CIMultiDict(headers), json.dumps(body).encode())
    except PayloadError:
        return
    if not isinstance(event, Ignored):
        addresses(item.forge, event.repositories)


@pytest.mark.parametrize("name", FORGES)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        b'"\\ud800"',
        b'{"ref": "\\ud800"}',
        b"\xef\xbb\xbf{}",
        b"[" * 10_000,
        b'{"a":' * 10_000,
        b'{"repository":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"updates":' + b"[" * 100_000,
        b'{"ref": ' + b"9" * 100_000 + b"}",
        b"{" + b'"a":1,' * 10_000 + b'"a":1}',
    ],
    ids=lambda body: f"{body[:12]!r}x{len(body)}",
)
def test_hostile_bytes_are_a_payload_error(name: str, body: bytes) -> None:
    for event in EVENTS.get("gitea" if name == "forgejo" else name, ("", [""]))[1]:
        headers = CIMultiDict(dict.fromkeys(("X-GitHub-Event", "X-Gitea-Event", "X-Event-Key"), event))
        with pytest.raises(PayloadError):
            forge(name).parse(headers, body)
