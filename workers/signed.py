"""Nothing is applied that is not signed as its repository's document asks: the step between fetch and diff."""

from __future__ import annotations

from typing import cast

from windlass.documents import signing
from windlass.documents.signing import KeyReference, SignedCommits
from windlass.documents.types import Repository, SecretRef
from windlass.secrets import Secrets
from workers.aiogit import GitRepository
from workers.aiogit.keyrings import Policy, PolicyError, PublicKey
from workers.aiogit.signed_objects import Kind


async def require_signed(
    repository: GitRepository,
    document: Repository,
    secrets: Secrets,
    *,
    source: str,
    ref: str,
    commit: str,
    applied: str,
) -> None:
    """Whatever made ``commit`` the one to apply (a push, a poll, a rollback): only signed, if the document says so.

    ``applied``: what was applied before; "" if that is not known. The commit found signed last is pinned, so that the
    next one is compared with it also after Redis has lost its memory.

    :raises UnsignedError: nothing may be applied; it helps to sign, or to change the document.
    :raises TransientError: it could not be found out, or a key's reference can't be read (yet).
    """
    spec = document.spec.signed_commits
    if spec is None:
        return
    pin = f"{source}-signed"
    since = [known for known in (repository.store.pin_of(pin), applied) if known]
    await repository.require_signed(ref, commit, policy(spec, secrets), since=since)
    repository.pin(pin, commit)


def policy(spec: SignedCommits, secrets: Secrets) -> Policy:
    """The policy with its references read.

    :raises PolicyError: what a reference leads to is no public key. :raises TransientError: it leads nowhere (yet).
    """
    keys = []
    for index, key in enumerate(spec.keys):
        name = f"signedCommits.keys[{index}]"
        text = _read(key, secrets)
        if not signing.valid_key(key.kind, text.decode("utf-8", "replace")):
            raise PolicyError(f"{name}: what it refers to is not a {key.kind} public key")
        keys.append(PublicKey(cast(Kind, key.kind), text, name, key.principals))
    revoked = _read(spec.revoked, secrets) if spec.revoked is not None else b""
    return Policy(tuple(keys), every=spec.mode == "every", revoked=revoked)


def _read(reference: KeyReference, secrets: Secrets) -> bytes:
    if reference.key is not None:
        return reference.key.encode()
    return secrets.resolve(SecretRef(env=reference.env, file=reference.file, secret=reference.secret))
