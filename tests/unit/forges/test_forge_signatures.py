"""Only who knows a configured secret is believed, and the time that takes tells nothing about a secret."""

from __future__ import annotations

import ast
import base64
import hashlib
import hmac
from pathlib import Path

import pytest
from multidict import CIMultiDict

import windlass.forges
from tests.webhooks import Sample, hex_hmac, sample, samples, signed
from windlass.forges import FORGES, forge

SECRET, OLD, OTHER = b"the-current-secret", b"the-one-before", b"somebody-else's"
NAMES = ("github", "gitea", "forgejo", "gitlab", "bitbucket", "bitbucket-server", "azure", "generic")
ONE_EACH = [sample(f"{name}-push") for name in NAMES]
SIGNING = [item for item in ONE_EACH if item.forge not in ("gitlab", "azure")]
each_forge = pytest.mark.parametrize("item", ONE_EACH, ids=lambda item: item.forge)


def test_every_forge_is_covered() -> None:
    assert {item.forge for item in ONE_EACH} == set(FORGES)


@pytest.mark.parametrize("item", samples(), ids=lambda item: item.name)
def test_a_signed_delivery_is_believed_and_a_forged_one_is_not(item: Sample) -> None:
    verify = forge(item.forge).verify
    assert verify(signed(item, SECRET), item.raw, [SECRET])
    assert not verify(signed(item, OTHER), item.raw, [SECRET])
    assert not verify(CIMultiDict(item.headers), item.raw, [SECRET])


@each_forge
def test_during_a_rotation_both_secrets_are_valid(item: Sample) -> None:
    verify = forge(item.forge).verify
    assert verify(signed(item, OLD), item.raw, [SECRET, OLD])
    assert verify(signed(item, SECRET), item.raw, [SECRET, OLD])
    assert not verify(signed(item, OTHER), item.raw, [SECRET, OLD])


@each_forge
def test_an_empty_secret_or_none_at_all_believes_nobody(item: Sample) -> None:
    verify = forge(item.forge).verify
    assert not verify(signed(item, b""), item.raw, [b""])
    assert not verify(signed(item, b""), item.raw, [])
    assert not verify(signed(item, SECRET), item.raw, [])
    assert not verify(signed(item, b""), item.raw, [SECRET, b""])


@pytest.mark.parametrize("item", SIGNING, ids=lambda item: item.forge)
def test_the_signature_covers_every_byte(item: Sample) -> None:
    headers = signed(item, SECRET)
    assert not forge(item.forge).verify(headers, item.raw + b" ", [SECRET])
    assert not forge(item.forge).verify(headers, item.raw.replace(b"main", b"evil"), [SECRET])


@each_forge
@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "sha256=",
        "sha256=zz",
        "sha256=" + "0" * 64,
        "sha256=" + "0" * 63,
        "sha256=é",
        "sha1=" + "0" * 40,
        "0" * 64,
        "Basic",
        "Basic !",
        "Basic é",
        "\udcff",
        "v1,",
    ],
)
def test_a_malformed_signature_is_no_signature(item: Sample, value: str) -> None:
    names = ("X-Hub-Signature-256", "X-Hub-Signature", "X-Gitea-Signature", "X-Forgejo-Signature", "X-Gitlab-Token",
             "webhook-signature", "Authorization", "X-Windlass-Signature")  # fmt: skip
    headers = CIMultiDict({**item.headers, **dict.fromkeys(names, value)})
    assert not forge(item.forge).verify(headers, item.raw, [SECRET, b"whsec_" + base64.b64encode(b"k" * 32)])


@each_forge
def test_sha1_is_never_enough(item: Sample) -> None:
    digest = hmac.new(SECRET, item.raw, hashlib.sha1).hexdigest()
    for value in (f"sha1={digest}", digest):
        headers = CIMultiDict(
            {**item.headers, "X-Hub-Signature": value, "X-Hub-Signature-256": value, "X-Gitea-Signature": value}
        )
        assert not forge(item.forge).verify(headers, item.raw, [SECRET])


def test_gitea_is_not_believed_by_the_headers_that_it_sends_for_github() -> None:
    item = sample("gitea-push")
    headers = CIMultiDict({**item.headers, "X-Hub-Signature-256": f"sha256={hex_hmac(SECRET, item.raw)}"})
    assert not forge("gitea").verify(headers, item.raw, [SECRET])


class TestGitLabSigningToken:
    """``whsec_…``: HMAC-SHA256 over id, timestamp and body, by the Standard Webhooks specification."""

    key = bytes(range(32))
    token = b"whsec_" + base64.b64encode(key)
    item = sample("gitlab-push")

    def headers(self, body: bytes, key: bytes, **changes: str) -> CIMultiDict[str]:
        stamp = {"webhook-id": "msg-1", "webhook-timestamp": "1779000000"}
        content = f"{stamp['webhook-id']}.{stamp['webhook-timestamp']}.".encode() + body
        value = base64.b64encode(hmac.digest(key, content, "sha256")).decode()
        return CIMultiDict({**self.item.headers, **stamp, "webhook-signature": f"v1,{value}", **changes})

    def test_signed_by_it_is_believed(self) -> None:
        assert forge("gitlab").verify(self.headers(self.item.raw, self.key), self.item.raw, [SECRET, self.token])

    def test_several_signatures_are_all_tried(self) -> None:
        headers = self.headers(self.item.raw, self.key)
        headers["webhook-signature"] = f"v1,AAAA v1a,xx {headers['webhook-signature']}"
        assert forge("gitlab").verify(headers, self.item.raw, [self.token])

    @pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp"])
    def test_id_and_timestamp_are_covered(self, name: str) -> None:
        headers = self.headers(self.item.raw, self.key, **{name: "1"})
        assert not forge("gitlab").verify(headers, self.item.raw, [self.token])

    def test_another_key_is_not_believed(self) -> None:
        assert not forge("gitlab").verify(self.headers(self.item.raw, b"k" * 32), self.item.raw, [self.token])

    def test_the_token_itself_is_no_password(self) -> None:
        headers = CIMultiDict({**self.item.headers, "X-Gitlab-Token": self.token.decode()})
        assert not forge("gitlab").verify(headers, self.item.raw, [self.token])

    def test_a_token_that_is_not_base64_believes_nobody(self) -> None:
        for token in (b"whsec_", b"whsec_!!", b"whsec_\xff"):
            assert not forge("gitlab").verify(self.headers(self.item.raw, b""), self.item.raw, [token])


class TestAzureBasicAuthentication:
    item = sample("azure-push")

    @staticmethod
    def headers(credentials: bytes) -> CIMultiDict[str]:
        return CIMultiDict({"Authorization": "Basic " + base64.b64encode(credentials).decode()})

    def test_the_user_name_is_free_where_the_secret_is_a_password(self) -> None:
        for user in (b"", b"windlass", b"u:ser"[:1]):
            assert forge("azure").verify(self.headers(user + b":" + SECRET), self.item.raw, [SECRET])

    def test_the_user_name_counts_where_the_secret_names_one(self) -> None:
        assert forge("azure").verify(self.headers(b"ci:pass"), self.item.raw, [b"ci:pass"])
        assert not forge("azure").verify(self.headers(b"me:pass"), self.item.raw, [b"ci:pass"])

    def test_a_password_may_hold_a_colon(self) -> None:
        assert forge("azure").verify(self.headers(b"ci:pa:ss"), self.item.raw, [b"pa:ss"])


COMPARISONS = ast.Eq | ast.NotEq | ast.In | ast.NotIn
ABOUT_SECRETS = ("secret", "token", "digest", "signature", "password", "credentials", "given")
HARMLESS = {
    "secret != b''",  # is it configured?
    "b':' in secret",  # does it name a user?
    "len(digest) == 32",
    "(name, secrets) not in groups",  # references to secrets, not values
    "self._digests.get(name) != d",  # of documents
    "name in self._digests",
}


def comparisons(tree: ast.AST) -> list[str]:
    """What a module compares by ==, != or in."""
    compares = [node for node in ast.walk(tree) if isinstance(node, ast.Compare)]
    return [ast.unparse(node) for node in compares if any(isinstance(op, COMPARISONS) for op in node.ops)]


def test_secrets_are_compared_with_compare_digest_only() -> None:
    """Threat A7. One module compares, by one function; no other one of forges and service computes or compares."""
    forges = Path(str(windlass.forges.__file__)).parent
    files = [*forges.glob("*.py"), *(forges.parents[1] / "service").glob("*.py")]
    trees = {f"{file.parent.name}.{file.stem}": ast.parse(file.read_text()) for file in files}
    assert {name for name, tree in trees.items() if "compare_digest" in ast.dump(tree)} == {"forges.signatures"}
    assert {name for name, tree in trees.items() if "id='hmac'" in ast.dump(tree)} == {"forges.signatures"}
    found = [(name, comparison) for name, tree in trees.items() for comparison in comparisons(tree)]
    of_secrets = {c for _, c in found if any(word in c.lower() for word in ABOUT_SECRETS)}
    assert of_secrets <= HARMLESS
