"""What the story of a promotion calls (`workers.promote.contract.Propose`): its documents in, one step on the repository."""

from __future__ import annotations

from typing import Protocol

from windlass.documents.editing import Signing
from windlass.documents.promotions import PromotionView
from windlass.documents.types import Repository
from windlass.queue.promotions import Image
from windlass.secrets import Secrets
from workers.aiogit import GitRepository
from workers.promote.contract import Proposal
from workers.promote.edit import Wanted
from workers.promote.identity import Identity, Key, Signer
from workers.promote.propose import Change, Target, propose


class Repositories(Protocol):
    """What this module needs of `workers.context.Repositories`."""

    async def get(self, document: Repository) -> GitRepository: ...


class Proposer:
    """Keeps the signers warm: the folder of each key lives as long as the worker, or until the key changes."""

    def __init__(self, repositories: Repositories, secrets: Secrets) -> None:
        self._repositories, self._secrets = repositories, secrets
        self._signers: dict[str, tuple[Key, Signer]] = {}

    async def __call__(self, view: PromotionView, image: Image, *, branch: str, message: str, keep: bool) -> Proposal:
        """See `Propose`, and `workers.promote.propose.propose` for what it raises."""
        spec = view.promotion.spec
        wanted = Wanted(spec.image, image.tag, image.digest, pin=spec.pin == "digest")
        change = Change(
            view.promotion.name,
            wanted,
            message,
            image.at,
            Identity(spec.commit.name, spec.commit.email),
            spec.edit,
            self._signer(view.promotion.name, spec.commit.signing),
        )
        target = Target(spec.target.branch, branch, spec.target.path, keep)
        return await propose(await self._repositories.get(view.repository), target, change)

    def _signer(self, promotion: str, signing: Signing | None) -> Signer | None:
        if signing is None:
            return None
        key = Key(signing.kind, self._secrets.resolve(signing.key))
        known = self._signers.get(promotion)
        if known is not None and known[0] == key:
            return known[1]
        if known is not None:
            known[1].close()
        self._signers[promotion] = key, Signer(key)
        return self._signers[promotion][1]

    def close(self) -> None:
        """The keys' folders go."""
        for _, signer in self._signers.values():
            signer.close()
        self._signers.clear()
