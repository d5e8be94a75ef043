"""What each registry says, as its vendor documents it, and what is made of it; and of anything else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.events import Ignored, ImagePublished, ImagesPublished
from windlass.forges.base import PayloadError
from windlass.registries import REGISTRIES

DATA = Path(__file__).parents[2] / "data" / "images"
DIGEST, SOURCE = "sha256:" + "a1" * 32, "https://git.example/shop/web.git"
CASES: dict[str, tuple[str, dict[str, str], list[ImagePublished]]] = {
    "distribution-push": (
        "distribution",
        {},
        [
            ImagePublished("registry.example:5000/shop/web", tag, DIGEST, at=1773096266.402974)
            for tag in ("1.4.2", "latest")
        ],
    ),
    "dockerhub-push": ("dockerhub", {}, [ImagePublished("docker.io/shop/web", "1.4.2", at=1417566161)]),
    "github-registry-package": (
        "github",
        {"X-GitHub-Event": "registry_package"},
        [ImagePublished("ghcr.io/shop/web", "1.4.2", DIGEST, "c" * 40, "https://github.com/Shop/web", at=1774305183)],
    ),
    "harbor-push": ("harbor", {}, [ImagePublished("harbor.example/shop/web", "1.4.2", DIGEST, at=1586922308)]),
    "harbor-cloudevent": ("harbor", {}, [ImagePublished("harbor.example/shop/web", "1.4.2", DIGEST, at=1775184266)]),
    "quay-push": ("quay", {}, [ImagePublished("quay.io/shop/web", tag) for tag in ("1.4.2", "latest")]),
    "quay-push-old": ("quay", {}, [ImagePublished("quay.io/shop/web", "latest")]),
    "azure-push": ("azure", {}, [ImagePublished("shop.azurecr.io/shop/web", "1.4.2", DIGEST, at=1794934321.343145)]),
    "google-insert": (
        "google",
        {},
        [ImagePublished("europe-docker.pkg.dev/my-project/shop/web", "1.4.2", DIGEST, at=1772133235.749)],
    ),
    "ecr-push": (
        "ecr",
        {},
        [ImagePublished("123456789012.dkr.ecr.us-west-2.amazonaws.com/shop/web", "1.4.2", DIGEST, at=1794794074)],
    ),
    "cloudevents-event-grid": (
        "cloudevents",
        {},
        [ImagePublished("shop.azurecr.io/shop/web", "1.4.2", DIGEST, at=1794934321.343145)],
    ),
    "cloudevents-cdevents": (
        "cloudevents",
        {"Content-Type": "application/cloudevents+json; charset=utf-8"},
        [ImagePublished("registry.example/shop/web", "1.4.2", DIGEST, at=1774016825.315384)],
    ),
    "cloudevents-ours": (
        "cloudevents",
        {},
        [ImagePublished("registry.example/shop/web", "1.4.2", DIGEST, "c" * 40, SOURCE, at=1774016825)],
    ),
    "ci": ("ci", {}, [ImagePublished("registry.example/shop/web", "1.4.2", DIGEST, "c" * 40, SOURCE)]),
}
NOTHING = {
    "distribution-pull": ("distribution", {}, "no tag was pushed"),
    "distribution-delete": ("gitlab", {}, "no tag was pushed"),
    "github-package-npm": ("github", {"X-GitHub-Event": "package"}, "npm published: no image was published"),
    "github-package-untagged": ("github", {"X-GitHub-Event": "package"}, "the version has no tag"),
    "harbor-delete": ("harbor", {}, "event 'DELETE_ARTIFACT' publishes no tag"),
    "azure-delete": ("azure", {}, "action 'delete' publishes no tag"),
    "azure-ping": ("azure", {}, "action 'ping' publishes no tag"),
    "google-insert-untagged": ("google", {}, "action 'INSERT' publishes no tag"),
    "google-delete": ("google", {}, "action 'DELETE' publishes no tag"),
    "ecr-delete": ("ecr", {}, "ECR Image Action DELETE publishes no tag"),
    "ecr-scan": ("ecr", {}, "ECR Image Scan  publishes no tag"),
}


@pytest.mark.parametrize("case", CASES)
def test_an_image_is_published(case: str) -> None:
    registry, headers, images = CASES[case]
    event = REGISTRIES[registry].parse(headers, (DATA / f"{case}.json").read_bytes(), None)
    assert isinstance(event, ImagesPublished)
    assert list(event.images) == images


@pytest.mark.parametrize("case", NOTHING)
def test_what_publishes_nothing_says_why(case: str) -> None:
    registry, headers, reason = NOTHING[case]
    event = REGISTRIES[registry].parse(headers, (DATA / f"{case}.json").read_bytes(), None)
    assert isinstance(event, Ignored)
    assert event.reason == reason


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith(("ci", "cloudevents"))])
def test_the_document_may_name_the_registry(case: str) -> None:
    registry, headers, _ = CASES[case]
    event = REGISTRIES[registry].parse(headers, (DATA / f"{case}.json").read_bytes(), "mirror.example:8443")
    assert isinstance(event, ImagesPublished)
    assert all(image.image.startswith("mirror.example:8443/") and "shop/web" in image.image for image in event.images)


def test_a_ping_of_github_is_no_package() -> None:
    event = REGISTRIES["github"].parse({"X-GitHub-Event": "ping"}, b"{}", None)
    assert isinstance(event, Ignored)


def test_cloudevents_come_in_batches_and_in_binary_too() -> None:
    ours = orjson.loads((DATA / "cloudevents-ours.json").read_bytes())
    other = {**ours, "data": {**ours["data"], "tag": "1.4.3"}}
    batch = {"Content-Type": "application/cloudevents-batch+json"}
    event = REGISTRIES["cloudevents"].parse(batch, orjson.dumps([ours, other, {**ours, "type": "x"}]), None)
    assert isinstance(event, ImagesPublished)
    assert [image.tag for image in event.images] == ["1.4.2", "1.4.3"]
    binary = {"ce-type": ours["type"], "ce-id": "7", "ce-time": ours["time"], "Content-Type": "application/json"}
    again = REGISTRIES["cloudevents"].parse(binary, orjson.dumps(ours["data"]), None)
    assert isinstance(again, ImagesPublished)
    assert again == ImagesPublished(event.images[:1], "7")


def test_ci_may_name_several_images_and_write_them_as_references() -> None:
    body = orjson.dumps([{"image": f"registry.example/shop/{name}:1.0@{DIGEST}"} for name in ("web", "api")])
    event = REGISTRIES["ci"].parse({}, body, None)
    assert isinstance(event, ImagesPublished)
    assert [(image.image, image.tag, image.digest) for image in event.images] == [
        ("registry.example/shop/web", "1.0", DIGEST),
        ("registry.example/shop/api", "1.0", DIGEST),
    ]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"image": "registry.example/shop/web"}, "the field `tag` is missing"),
        ({"image": "registry.example/shop/web:1", "tag": "2"}, "another tag"),
        ({"image": "registry.example/shop/web", "tag": "1\nx: y"}, "$.tag"),
        ({"image": "registry.example/shop/web", "tag": "{{x}}"}, "$.tag"),
        ({"image": "registry.example/../etc", "tag": "1"}, "is not the name of an image"),
        ({"image": "a/b", "tag": "1", "digest": "sha256:short"}, "$.digest"),
        ({"image": "a/b", "tag": "1", "source": {"commit": "HEAD"}}, "$.source.commit"),
        ({"image": "a/b", "tag": "1", "extra": True}, "extra"),
    ],
)
def test_ci_hears_what_is_wrong(body: dict[str, Any], words: str) -> None:
    with pytest.raises(PayloadError, match=".*".join(word for word in [words.replace("$", r"\$").replace(".", r"\.")])):
        REGISTRIES["ci"].parse({}, orjson.dumps(body), None)


def test_a_source_without_a_readable_time_has_none() -> None:
    body = orjson.loads((DATA / "azure-push.json").read_bytes())
    event = REGISTRIES["azure"].parse({}, orjson.dumps({**body, "timestamp": "yesterday"}), None)
    assert isinstance(event, ImagesPublished)
    assert event.images[0].at == 0.0


def mutations() -> st.SearchStrategy[tuple[str, dict[str, str], Any]]:
    """Documented payloads with one value anywhere replaced by another, and arbitrary JSON."""
    junk: st.SearchStrategy[Any] = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    )

    def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        items = (
            list(value.items())
            if isinstance(value, dict)
            else list(enumerate(value))
            if isinstance(value, list)
            else []
        )
        return [path, *(found for key, item in items for found in paths(item, (*path, key)))]

    def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
        if not path:
            return new
        copy = value.copy()
        copy[path[0]] = replaced(value[path[0]], path[1:], new)
        return copy

    def of(case: str) -> st.SearchStrategy[tuple[str, dict[str, str], Any]]:
        registry, headers, _ = CASES[case] if case in CASES else NOTHING[case]
        body = orjson.loads((DATA / f"{case}.json").read_bytes())
        changed = st.builds(lambda path, new: replaced(body, path, new), st.sampled_from(paths(body)), junk)
        return st.tuples(st.just(registry), st.just(headers), changed)

    return st.sampled_from([*CASES, *NOTHING]).flatmap(of)


@given(mutations())
def test_whatever_the_payload_it_is_an_event_or_refused(case: tuple[str, dict[str, str], Any]) -> None:
    registry, headers, body = case
    try:
        event = REGISTRIES[registry].parse(headers, json.dumps(body).encode(), None)
    except PayloadError:
        return
    assert isinstance(event, ImagesPublished | Ignored)


@given(st.sampled_from(sorted(REGISTRIES)), st.binary(max_size=200))
def test_whatever_the_bytes_they_are_an_event_or_refused(registry: str, body: bytes) -> None:
    try:
        REGISTRIES[registry].parse({"X-GitHub-Event": "package", "Content-Type": "application/json"}, body, None)
    except PayloadError:
        return


@pytest.mark.parametrize("registry", sorted(REGISTRIES))
def test_deep_nesting_is_refused(registry: str) -> None:
    with pytest.raises(PayloadError):
        REGISTRIES[registry].parse({"X-GitHub-Event": "package"}, b"[" * 100_000, None)
