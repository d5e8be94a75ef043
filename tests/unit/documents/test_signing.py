"""``signedCommits``: which keys count, each fault with its line and field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from windlass.documents.parse import parse_documents
from windlass.documents.signing import SignedCommits, SigningKey
from windlass.documents.types import Repository

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL0xIo1cw9D2bcqBsmR1tGGmvGsE1UgVxhJGkS1vQzJe alice@shop.example"
GPG = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDMEZ\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n"
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def read(signed: Any) -> tuple[list[Any], list[str]]:
    document = {
        "apiVersion": "windlass.dev/v1alpha1",
        "kind": "Repository",
        "metadata": {"name": "shop"},
        "spec": {"url": "https://git.example/shop.git", "signedCommits": signed},
    }
    found = parse_documents(json.dumps(document).encode(), "a.yaml")
    return [item for item, _ in found.documents], [f"{error.field}: {error.message}" for error in found.errors]


def test_keys_are_inline_or_referred_to() -> None:
    keys = [
        {"kind": "ssh", "key": ED25519, "principals": ["alice@shop.example"]},
        {"kind": "gpg", "key": GPG + GPG},
        {"kind": "gpg", "env": "WEB_FLOW"},
        {"kind": "x509", "file": "/etc/windlass/authority.pem"},
        {"kind": "x509", "key": PEM},
    ]
    (repository,), errors = read({"mode": "every", "keys": keys, "revoked": {"file": "/etc/windlass/revoked"}})
    assert errors == []
    assert isinstance(repository, Repository)
    signed = repository.spec.signed_commits
    assert isinstance(signed, SignedCommits)
    assert signed.keys[2] == SigningKey(kind="gpg", env="WEB_FLOW")
    assert signed.mode == "every"


def test_the_tip_alone_must_be_signed_unless_the_document_says_more() -> None:
    (repository,), _ = read({"keys": [{"kind": "ssh", "key": ED25519}]})
    assert repository.spec.signed_commits.mode == "head"


@pytest.mark.parametrize(
    ("signed", "error"),
    [
        ({}, "spec.signedCommits: the field keys is missing"),
        ({"keys": []}, "spec.signedCommits.keys: expected at least one key"),
        ({"mode": "some", "keys": [{"kind": "ssh", "key": ED25519}]}, "spec.signedCommits.mode: expected one of head, every"),
        ({"keys": [{"kind": "gitsign", "env": "A"}]}, "spec.signedCommits.keys[0].kind: gitsign is not available"),
        ({"keys": [{"kind": "pgp", "env": "A"}]}, "spec.signedCommits.keys[0].kind: expected one of gpg, ssh, x509"),
        ({"keys": [{"kind": "ssh"}]}, "spec.signedCommits.keys[0]: expected exactly one of key, env and file"),
        ({"keys": [{"kind": "ssh", "key": ED25519, "env": "A"}]}, "spec.signedCommits.keys[0]: expected exactly one"),
        ({"keys": [{"kind": "ssh", "key": ED25519[:40]}]}, "spec.signedCommits.keys[0].key: expected one public key"),
        ({"keys": [{"kind": "ssh", "key": "cert-authority " + ED25519}]}, "spec.signedCommits.keys[0].key: expected one"),
        ({"keys": [{"kind": "ssh", "key": ED25519 + "\n* " + ED25519}]}, "spec.signedCommits.keys[0].key: expected one"),
        ({"keys": [{"kind": "ssh", "key": ED25519.replace("ssh-ed25519", "ssh-rsa")}]}, "spec.signedCommits.keys[0].key:"),
        ({"keys": [{"kind": "gpg", "key": ED25519}]}, "spec.signedCommits.keys[0].key: expected an ASCII-armoured"),
        ({"keys": [{"kind": "gpg", "key": PEM}]}, "spec.signedCommits.keys[0].key: expected an ASCII-armoured"),
        ({"keys": [{"kind": "x509", "key": GPG}]}, "spec.signedCommits.keys[0].key: expected the certificates"),
        ({"keys": [{"kind": "gpg", "key": GPG.replace("PUBLIC", "PRIVATE")}]}, "spec.signedCommits.keys[0].key: a private key"),
        ({"keys": [{"kind": "gpg", "env": "A B"}]}, "spec.signedCommits.keys[0].env: expected the name"),
        ({"keys": [{"kind": "gpg", "env": "A", "principals": ["a"]}]}, "spec.signedCommits.keys[0].principals: goes with"),
        ({"keys": [{"kind": "ssh", "env": "A", "principals": ["*"]}]}, "spec.signedCommits.keys[0].principals[0]: expected"),
        ({"keys": [{"kind": "ssh", "env": "A"}], "revoked": {"key": "x"}}, "spec.signedCommits.revoked.key: expected SSH"),
        ({"keys": [{"kind": "ssh", "env": "A", "trust": 1}]}, "spec.signedCommits.keys[0].trust: unknown field"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(signed: Any, error: str) -> None:
    documents, errors = read(signed)
    assert documents == []
    assert errors[0].startswith(error), errors


def test_no_error_repeats_a_key() -> None:
    _, errors = read({"keys": [{"kind": "gpg", "key": "-----BEGIN PGP PRIVATE KEY BLOCK-----\ncanary"}]})
    assert "canary" not in errors[0]
