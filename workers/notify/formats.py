"""What is told, in each receiver's own form. Pure.

What must hold: what came from outside (an error of a cluster, an image's tag) is only text wherever it is shown: it mentions
nobody, links nowhere, and formats nothing. Shapes: docs.slack.dev "Sending messages using incoming webhooks" and "Formatting
message text"; learn.microsoft.com "Create incoming webhooks", adaptive cards; discord.com/developers "Execute Webhook";
cloudevents.io, "HTTP Protocol Binding" 1.0.2, structured content mode.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from windlass.documents.notification import NotificationSpec
from windlass.documents.promotion import filled
from windlass.queue.notices import Notice, Occurrence

LONGEST = 1500
"""Characters of what is said; every receiver takes as much."""
SIGNATURE, EVENT, DELIVERY = "X-Windlass-Signature", "X-Windlass-Event", "X-Windlass-Delivery"
_GOOD, _UNDER_WAY, _BAD = 0x2EB67D, 0x1F6FEB, 0xD73A49
_COLOURS = {"healthy": _GOOD, "degraded": _BAD, "failed": _BAD, "drift": _BAD}
_PHASES = {"Declined": "was closed without a merge", "Conflict": "conflicts with what was pushed to its branch"}
_DISCORD = re.compile(r"([\\*_~`|>\[\]()#<:@-])")
_LINK = re.compile(r"https?://[^\s<>|\"'`\\]{1,1000}\Z")


class Request(NamedTuple):
    """A POST: its headers, and its body."""

    headers: dict[str, str]
    body: bytes


def message(found: Occurrence) -> str:
    """What happened, in a sentence."""
    why = f": {found.why}" if found.why else ""
    if found.event == "promotion":
        said = _PHASES.get(found.phase, f"is {found.phase.lower()}")
        return _short(f"{found.promotion}: {found.image} {said}{why}")
    at, on = found.revision[:10], f" on {found.cluster}"
    said = {
        "started": f"{at} is being applied{on}",
        "applied": f"{at} is applied{on}",
        "healthy": f"{at} is healthy{on}",
        "degraded": f"{at} is degraded{on}",
        "failed": f"{at} could not be applied{on}",
        "drift": f"differs from Git{on}",
    }[found.event]
    return _short(f"{found.application}: {said}{why}")


def words(found: Occurrence) -> dict[str, str]:
    """What templates may name."""
    return {
        "event": found.event,
        "application": found.application,
        "cluster": found.cluster,
        "revision": found.revision,
        "message": message(found),
        "why": _short(found.why),
        "promotion": found.promotion,
        "image": found.image,
        "url": found.url,
    }


def said(spec: NotificationSpec, found: Occurrence, escape: Callable[[str], str]) -> str:
    """The document's template, or our own sentence; whatever came from outside is escaped, the template is not."""
    if not spec.template:
        return escape(message(found))
    return filled(spec.template, {word: escape(value) for word, value in words(found).items()})[:LONGEST]


def slack(spec: NotificationSpec, notice: Notice) -> Request:
    found = notice.occurrence
    fields = [{"type": "plain_text", "text": f"{name}\n{value}", "emoji": False} for name, value in _facts(found)]
    attachment: dict[str, Any] = {"color": f"#{_colour(found):06x}", "blocks": [{"type": "section", "fields": fields}]}
    text = said(spec, found, _for_slack)
    link = f" <{found.url}>" if _LINK.match(found.url) else ""
    return _json({"text": text + link, "attachments": [attachment], "unfurl_links": False})


def teams(spec: NotificationSpec, notice: Notice) -> Request:
    """An adaptive card of text runs, in which Markdown is not read."""
    found = notice.occurrence
    facts = [
        _rich([{"text": f"{name}: ", "weight": "Bolder"}, {"text": value, "fontType": "Monospace"}])
        for name, value in _facts(found)
    ]
    colour = {_GOOD: "Good", _BAD: "Attention"}.get(_colour(found), "Default")
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [_rich([{"text": said(spec, found, str), "color": colour, "weight": "Bolder"}]), *facts],
    }
    if _LINK.match(found.url):
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Pull request", "url": found.url}]
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return _json({"type": "message", "attachments": [attachment]})


def discord(spec: NotificationSpec, notice: Notice) -> Request:
    found = notice.occurrence
    embed: dict[str, Any] = {
        "description": said(spec, found, _for_discord),
        "color": _colour(found),
        "timestamp": _iso(found.at),
        "fields": [{"name": name, "value": _for_discord(value), "inline": True} for name, value in _facts(found)],
    }
    if _LINK.match(found.url):
        embed |= {"title": "Pull request", "url": found.url}
    return _json({"embeds": [embed], "allowed_mentions": {"parse": []}})


def webhook(spec: NotificationSpec, notice: Notice, key: bytes | None) -> Request:
    """The occurrence as JSON, signed where there is a key."""
    found = notice.occurrence
    request = _json({"id": notice.id, **_data(spec, found)})
    headers = {**request.headers, EVENT: found.event, DELIVERY: notice.id}
    return _signed(Request(headers, request.body), key)


def cloudevent(spec: NotificationSpec, notice: Notice, key: bytes | None, source: str) -> Request:
    """``source``: the installation, as a URI reference."""
    found = notice.occurrence
    kind = "promotion" if found.event == "promotion" else "application"
    name = found.phase.lower() if found.event == "promotion" else found.event
    event = {
        "specversion": "1.0",
        "id": notice.id,
        "source": source,
        "type": f"dev.windlass.{kind}.{name}",
        "subject": found.promotion or found.application,
        "time": _iso(found.at),
        "datacontenttype": "application/json",
        "data": _data(spec, found),
    }
    return _signed(Request({"Content-Type": "application/cloudevents+json; charset=utf-8"}, orjson.dumps(event)), key)


def _data(spec: NotificationSpec, found: Occurrence) -> dict[str, Any]:
    values = {
        "event": found.event,
        "application": found.application,
        "cluster": found.cluster,
        "repository": found.repository,
        "revision": found.revision,
        "promotion": found.promotion,
        "phase": found.phase,
        "image": found.image,
        "url": found.url,
        "why": _short(found.why),
    }
    kept = {name: value for name, value in values.items() if value}
    return {**kept, "at": _iso(found.at), "message": said(spec, found, str)}


def _signed(request: Request, key: bytes | None) -> Request:
    if key is None:
        return request
    digest = hmac.new(key, request.body, hashlib.sha256).hexdigest()
    return Request({**request.headers, SIGNATURE: f"sha256={digest}"}, request.body)


def _facts(found: Occurrence) -> list[tuple[str, str]]:
    facts: Mapping[str, str] = {
        "Application": found.application,
        "Cluster": found.cluster,
        "Revision": found.revision[:40],
        "Promotion": found.promotion,
        "Image": found.image[:200],
    }
    return [(name, value) for name, value in facts.items() if value]


def _rich(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", **run} for run in runs]}


def _json(value: Any) -> Request:
    return Request({"Content-Type": "application/json; charset=utf-8"}, orjson.dumps(value))


def _colour(found: Occurrence) -> int:
    if found.event == "promotion":
        return {"Merged": _GOOD, "Promoted": _GOOD, "Conflict": _BAD}.get(found.phase, _UNDER_WAY)
    return _COLOURS.get(found.event, _UNDER_WAY)


def _for_slack(text: str) -> str:
    """Its three control characters; a mention or a link needs one of them."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _for_discord(text: str) -> str:
    return _DISCORD.sub(r"\\\1", text)


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _short(text: str) -> str:
    """On one line, and not too long: escaped, it may be twice as much."""
    line = "".join(character if character.isprintable() else " " for character in text)
    return line if len(line) <= LONGEST // 2 else f"{line[: LONGEST // 2 - 1]}…"
