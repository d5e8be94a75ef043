"""What is told, in each receiver's documented form; and whatever a cluster or a tag says, it is only text there."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.documents.base import SecretRef
from windlass.documents.notification import Chat, NotificationSpec, To
from windlass.queue.notices import Notice, Occurrence
from workers.notify import formats

EVENTS = ("started", "applied", "healthy", "degraded", "failed", "drift")


def spec(template: str = "") -> NotificationSpec:
    return NotificationSpec(To(slack=Chat(SecretRef(env="X"))), ("healthy",), template=template)


def notice(event: str = "degraded", why: str = "", **more: Any) -> Notice:
    if event == "promotion":
        found = Occurrence(event, 1.5, promotion="web", phase="Merged", image="r.example/web:1", why=why, **more)
    else:
        found = Occurrence(event, 1.5, application="shop", cluster="eu", revision="a" * 40, why=why, **more)
    return Notice("n1", "chat", found)


def body(request: formats.Request) -> Any:
    return json.loads(request.body)


@pytest.mark.parametrize("event", EVENTS)
def test_a_sentence_says_what_happened_where(event: str) -> None:
    said = formats.message(notice(event, "no image").occurrence)
    assert said.startswith("shop: ")
    assert "on eu" in said
    assert said.endswith(": no image")


@pytest.mark.parametrize("phase", ["Proposed", "Merged", "Declined", "Conflict", "Promoted"])
def test_a_promotions_phase_is_said_with_its_image(phase: str) -> None:
    found = Occurrence("promotion", 1.0, promotion="web", phase=phase, image="r.example/web:1")
    assert formats.message(found).startswith("web: r.example/web:1 ")


def test_slack_gets_text_an_attachments_colour_and_plain_fields() -> None:
    found = body(formats.slack(spec(), notice("healthy")))
    assert found["text"] == "shop: aaaaaaaaaa is healthy on eu"
    (attachment,) = found["attachments"]
    assert attachment["color"] == "#2eb67d"
    fields = attachment["blocks"][0]["fields"]
    assert {field["type"] for field in fields} == {"plain_text"}
    assert [field["text"] for field in fields] == ["Application\nshop", "Cluster\neu", f"Revision\n{'a' * 40}"]


def test_teams_gets_an_adaptive_card_without_markdown() -> None:
    found = body(formats.teams(spec(), notice("promotion", url="https://git.example/pulls/7")))
    assert found["type"] == "message"
    card = found["attachments"][0]["content"]
    assert found["attachments"][0]["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}
    assert card["actions"] == [
        {"type": "Action.OpenUrl", "title": "Pull request", "url": "https://git.example/pulls/7"}
    ]


def test_discord_gets_an_embed_that_mentions_nobody() -> None:
    found = body(formats.discord(spec(), notice(why="@everyone **now**")))
    assert found["allowed_mentions"] == {"parse": []}
    assert found["embeds"][0]["timestamp"] == "1970-01-01T00:00:01.500Z"
    assert r"\@everyone \*\*now\*\*" in found["embeds"][0]["description"]


def test_a_webhook_is_signed_with_the_key() -> None:
    request = formats.webhook(spec(), notice(why="no image"), b"the key")
    expected = hmac.new(b"the key", request.body, hashlib.sha256).hexdigest()
    assert request.headers["X-Windlass-Signature"] == f"sha256={expected}"
    assert (request.headers["X-Windlass-Event"], request.headers["X-Windlass-Delivery"]) == ("degraded", "n1")
    found = body(request)
    assert (found["id"], found["event"], found["application"], found["why"]) == ("n1", "degraded", "shop", "no image")
    assert "X-Windlass-Signature" not in formats.webhook(spec(), notice(), None).headers


@pytest.mark.parametrize(
    ("event", "kind", "subject"),
    [("healthy", "dev.windlass.application.healthy", "shop"), ("promotion", "dev.windlass.promotion.merged", "web")],
)
def test_a_cloudevent_has_what_the_specification_requires(event: str, kind: str, subject: str) -> None:
    request = formats.cloudevent(spec(), notice(event), None, "/windlass/eu")
    assert request.headers["Content-Type"].startswith("application/cloudevents+json")
    found = body(request)
    assert (found["specversion"], found["id"], found["source"]) == ("1.0", "n1", "/windlass/eu")
    assert (found["type"], found["subject"]) == (kind, subject)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found["time"])
    assert found["datacontenttype"] == "application/json"
    assert found["data"]["event"] == event


def test_a_template_is_the_documents_and_its_words_are_text() -> None:
    template = spec("<!here> *{{application}}* {{why}} {{event}}")
    found = body(formats.slack(template, notice(why="<!channel> {{cluster}}")))
    assert found["text"] == "<!here> *shop* &lt;!channel&gt; {{cluster}} degraded"


hostile = st.text(alphabet=st.sampled_from("<>&|@!*_`[]()#:/\\\n\r\u2028 aé{}"), max_size=40) | st.text(max_size=40)


@given(hostile)
def test_nothing_from_outside_is_more_than_text(why: str) -> None:
    slack = body(formats.slack(spec(), notice(why=why, url=why)))["text"]
    assert "<" not in slack
    assert ">" not in slack
    teams = body(formats.teams(spec(), notice(why=why, url=why)))["attachments"][0]["content"]
    assert "actions" not in teams
    assert "\n" not in teams["body"][0]["inlines"][0]["text"]
    text = body(formats.discord(spec(), notice(why=why)))["embeds"][0]["description"]
    assert not re.search(r"(?<!\\)(?:\\\\)*[*_~`|<>@\[\]()#]", text)


@given(st.text(min_size=2000, max_size=6000))
def test_what_is_long_is_cut(why: str) -> None:
    for request in (
        formats.slack(spec(), notice(why=why)),
        formats.teams(spec(), notice(why=why)),
        formats.discord(spec(), notice(why=why)),
        formats.webhook(spec(), notice(why=why), None),
    ):
        assert len(request.body.decode()) < 8000
