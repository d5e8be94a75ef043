"""What a poll makes of the tags of a real registry: the newest by each promotion's policy, once, and from its own digest."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.integration.registry.catalog import follows
from tests.parts.registry import OCI_INDEX, OCI_MANIFEST, Registry
from windlass.events import ImagePublished
from workers.registry.api import RegistryApi
from workers.registry.look import Memory, look

pytestmark = pytest.mark.integration

SEMVER = {"order": "semver", "range": ">=1.0.0"}
NEWEST = {"order": "newest"}
COMMIT = "5f2c1e9a7b3d4c6e8f0a1b2c3d4e5f6a7b8c9d0e"


def day(number: int) -> datetime:
    return datetime(2026, 1, number, tzinfo=UTC)


class Looks:
    """Polls of one image, by these policies, each from the memory of the one before."""

    def __init__(self, registry: Registry, api: RegistryApi, name: str, *policies: dict[str, Any]) -> None:
        self.registry, self.api, self.name, self.image = registry, api, name, f"{registry.host}/{name}"
        self.follows, self.memory = follows(self.image, *policies), Memory()
        self.kept: list[Memory] = []

    async def again(self) -> list[ImagePublished]:
        """What the next poll says, in the promotions' order."""

        async def keep(memory: Memory) -> None:
            self.kept.append(memory)

        found = await look(self.api, self.image, self.follows, self.memory, keep)
        self.memory = found.memory
        return [noted.image for noted in found.noted]

    async def asked(self) -> list[str]:
        """What one more poll asks the registry."""
        before = len(self.registry.requests())
        await self.again()
        return [line.replace(self.name, "NAME") for line in self.registry.requests()[before:]]


@pytest.fixture
def looks(image_registry: Registry, api: RegistryApi, unique: str) -> Any:
    return lambda *policies: Looks(image_registry, api, f"shop/{unique}", *policies)


async def test_the_newest_tag_that_a_policy_accepts_is_said_once_with_its_digest_and_source(looks: Any) -> None:
    polls = looks(SEMVER)
    labels = {"org.opencontainers.image.revision": COMMIT, "org.opencontainers.image.source": "https://git.example/web"}
    for tag in ("0.9.0", "1.0.0", "latest"):
        polls.registry.push(polls.name, tag)
    digest = polls.registry.push(polls.name, "1.10.0", labels=labels)
    polls.registry.push(polls.name, "1.9.0")
    assert await polls.again() == [
        ImagePublished(polls.image, "1.10.0", digest, commit=COMMIT, repository="https://git.example/web")
    ]
    assert await polls.again() == []


async def test_where_nothing_changed_two_questions_are_asked_and_nothing_is_said(looks: Any) -> None:
    polls = looks(SEMVER)
    for tag in ("1.0.0", "1.1.0", "1.2.0"):
        polls.registry.push(polls.name, tag)
    await polls.again()
    before = polls.memory
    assert await polls.asked() == ["GET /v2/NAME/tags/list?n=1000 200", "HEAD /v2/NAME/manifests/1.2.0 200"]
    assert polls.memory is before


async def test_a_tag_that_is_older_by_the_policy_is_not_said(looks: Any) -> None:
    polls = looks(SEMVER)
    polls.registry.push(polls.name, "2.0.0")
    await polls.again()
    polls.registry.push(polls.name, "1.5.0")
    assert await polls.again() == []


async def test_a_tag_that_was_pushed_again_is_said_again(looks: Any) -> None:
    polls = looks({"order": "alphabetical", "pattern": "stable"})
    polls.registry.push(polls.name, "stable", created=day(1))
    (first,) = await polls.again()
    digest = polls.registry.push(polls.name, "stable", created=day(2))
    (second,) = await polls.again()
    assert (second.tag, second.digest) == ("stable", digest)
    assert first.digest != digest


async def test_by_age_the_configs_of_all_tags_that_count_say_which_is_newest(looks: Any) -> None:
    polls = looks({**NEWEST, "pattern": "build-.*"})
    polls.registry.push(polls.name, "build-b", created=day(3))
    polls.registry.push(polls.name, "build-a", created=day(5))
    polls.registry.push(polls.name, "build-c", created=day(4))
    polls.registry.push(polls.name, "other", created=day(9))
    (found,) = await polls.again()
    assert (found.tag, found.at) == ("build-a", day(5).timestamp())
    polls.registry.push(polls.name, "build-0", created=day(6))
    asked = await polls.asked()
    assert [line for line in asked if line.startswith("GET") and "blobs" in line], "the new one's config"
    assert sum("manifests/sha256" in line for line in asked) <= 2, "and no other's"


async def test_an_image_that_will_be_made_is_not_the_newest_for_ever(looks: Any) -> None:
    polls = looks(NEWEST)
    polls.registry.push(polls.name, "tomorrow", created=datetime(2999, 1, 1, tzinfo=UTC))
    await polls.again()
    polls.registry.push(polls.name, "today")
    (found,) = await polls.again()
    assert found.tag == "today"


async def test_of_an_image_of_several_platforms_the_first_that_is_one_counts(looks: Any) -> None:
    polls = looks(NEWEST)
    child = polls.registry.push(polls.name, "old", created=day(1))
    platform = polls.registry.push(polls.name, "amd64", created=day(7))
    index = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [
            {"mediaType": OCI_MANIFEST, "digest": child, "size": 2, "platform": {"os": "unknown", "architecture": "unknown"}},
            {"mediaType": OCI_MANIFEST, "digest": platform, "size": 2, "platform": {"os": "linux", "architecture": "amd64"}},
        ],
    }  # fmt: skip
    polls = looks({**NEWEST, "pattern": "multi"})
    digest = polls.registry.manifest(polls.name, "multi", index)
    (found,) = await polls.again()
    assert (found.digest, found.at) == (digest, day(7).timestamp())


async def test_signatures_and_attestations_are_no_images(looks: Any) -> None:
    polls = looks(NEWEST)
    digest = polls.registry.push(polls.name, "1", created=day(1))
    polls.registry.push(polls.name, f"{digest.replace(':', '-')}.sig", created=day(2))
    (found,) = await polls.again()
    assert found.tag == "1"


async def test_each_promotion_hears_of_its_own(looks: Any) -> None:
    polls = looks(SEMVER, {"order": "numeric", "pattern": "build-([0-9]+)"}, {"order": "semver", "range": ">=9"})
    for tag in ("1.0.0", "build-9", "build-10"):
        polls.registry.push(polls.name, tag)
    assert [image.tag for image in await polls.again()] == ["1.0.0", "build-10"]


async def test_other_documents_are_judged_anew(looks: Any) -> None:
    polls = looks({"order": "semver", "range": "1.x"})
    for tag in ("1.0.0", "2.0.0"):
        polls.registry.push(polls.name, tag)
    assert [image.tag for image in await polls.again()] == ["1.0.0"]
    polls.follows = follows(polls.image, {"order": "semver", "range": ">=1.0.0"})
    assert [image.tag for image in await polls.again()] == ["2.0.0"]


async def test_an_image_that_is_not_there_yet_is_no_error(looks: Any) -> None:
    polls = looks(SEMVER)
    assert await polls.again() == []
    polls.registry.push(polls.name, "1.0.0")
    assert [image.tag for image in await polls.again()] == ["1.0.0"]
