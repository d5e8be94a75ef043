"""Through the parts of a document: none is missed, and what isn't changed stays the same object."""

from __future__ import annotations

import msgspec

from windlass.documents import walk
from windlass.documents.base import SecretRef
from windlass.documents.types import Credentials, Repository, RepositorySpec, Webhook

ENV = SecretRef(env="A")
MADE = Repository(
    "shop",
    RepositorySpec(
        "https://h/x", credentials=Credentials(token=ENV), webhook=Webhook(secrets=(ENV, SecretRef(file="b")))
    ),
)


def test_every_part_is_found_where_yaml_has_it() -> None:
    found = [path for path, part in walk.parts(MADE.spec) if isinstance(part, SecretRef)]
    assert found == [("credentials", "token"), ("webhook", "secrets", 0), ("webhook", "secrets", 1)]


def test_what_is_changed_is_changed_everywhere_and_nothing_else() -> None:
    def change(part: msgspec.Struct) -> msgspec.Struct:
        return SecretRef(env="B") if part == ENV else part

    made = walk.rebuilt(MADE, change)
    assert made.spec.webhook is not None
    assert made.spec.webhook.secrets == (SecretRef(env="B"), SecretRef(file="b"))
    assert made.spec.credentials == Credentials(token=SecretRef(env="B"))
    assert walk.rebuilt(MADE, lambda part: part) is MADE
