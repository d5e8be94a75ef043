"""From documents and an image to a branch on a real Gitea: created, moved by a newer image, reviewed, protected."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.promote.test_propose import IMAGE, WEB, private
from tests.parts.gitea import ADMIN, PASSWORD, Gitea
from tests.parts.signing import signers
from windlass.documents.editing import Commit, Edit, Signing
from windlass.documents.promotion import Promotion, PromotionSpec, Target
from windlass.documents.promotions import PromotionView
from windlass.documents.signing import SignedCommits, SigningKey
from windlass.documents.types import Credentials, Repository, RepositorySpec, SecretRef
from windlass.queue.promotions import Image
from windlass.secrets import Secrets
from workers.context import Repositories
from workers.promote import propose as proposing
from workers.promote import words
from workers.promote.contract import Propose
from workers.promote.proposer import Proposer
from workers.promote.push import RefusedPushError
from workers.signed import require_signed

pytestmark = pytest.mark.integration

BRANCH = "promote/web"
DIGEST = "sha256:" + "cd" * 32


class Forge:
    """A manifest repository on the forge, with a promotion to it."""

    def __init__(self, gitea: Gitea, name: str, proposer: Propose) -> None:
        self.gitea, self.path, self.propose_ = gitea, f"/repos/{ADMIN}/{name}", proposer
        credentials = Credentials(username=ADMIN, password=SecretRef(env="FORGE_PASSWORD"))
        spec = RepositorySpec(gitea.create_repository(name).clone_url, forge="gitea", credentials=credentials)
        self.repository = Repository(name, spec)
        self.base = self.write("main", "apps/web.yaml", WEB)

    def write(self, branch: str, path: str, text: str, known: str = "") -> str:
        body: dict[str, Any] = {"content": base64.b64encode(text.encode()).decode(), "branch": branch, "message": path}
        if known:
            body["sha"] = known
        made = self.gitea.api("PUT" if known else "POST", f"{self.path}/contents/{path}", body)
        return str(made["commit"]["sha"])

    def read(self, branch: str, path: str = "apps/web.yaml") -> tuple[str, str]:
        found = self.gitea.api("GET", f"{self.path}/contents/{path}?ref={branch}")
        return base64.b64decode(found["content"]).decode(), found["sha"]

    def commits(self, branch: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.gitea.api("GET", f"{self.path}/commits?sha={branch}&stat=false&files=false")
        return found

    async def propose(self, image: Image, *, branch: str = BRANCH, keep: bool = True, **spec: Any) -> Any:
        promotion = Promotion("web", PromotionSpec(IMAGE, Target(self.repository.name, path="apps"), **spec))
        view = PromotionView(promotion.id, promotion, self.repository, "")
        return await self.propose_(view, image, branch=branch, message=words.message(promotion, image), keep=keep)


@pytest.fixture
async def proposer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Proposer]:
    monkeypatch.setenv("FORGE_PASSWORD", PASSWORD)
    secrets = Secrets()
    repositories = Repositories(tmp_path, secrets)
    made = Proposer(repositories, secrets)
    yield made
    made.close()
    await repositories.close()


@pytest.fixture
def forge(gitea: Gitea, unique: str, proposer: Proposer) -> Forge:
    return Forge(gitea, unique, proposer)


async def test_created_moved_reviewed_and_kept(forge: Forge) -> None:
    made = await forge.propose(Image("1.1.0", at=1_700_000_000.0))
    assert (made.outcome, made.base, made.previous) == ("created", forge.base, "1.0.0")
    assert forge.read(BRANCH)[0] == WEB.replace("1.0.0", "1.1.0")
    assert forge.commits(BRANCH)[0]["commit"]["message"].startswith(f"web: web 1.1.0\n\nImage: {IMAGE}:1.1.0\n")

    made = await forge.propose(Image("1.2.0", at=1_700_000_001.0))
    assert made.outcome == "rebuilt"
    assert [one["sha"] for one in forge.commits(BRANCH)[:2]] == [made.commit, forge.base]

    text, known = forge.read(BRANCH)
    review = forge.write(BRANCH, "apps/web.yaml", text.replace("replicas: 1", "replicas: 3"), known)
    made = await forge.propose(Image("1.3.0", at=1_700_000_002.0))
    assert [one["sha"] for one in forge.commits(BRANCH)[:2]] == [made.commit, review]
    assert forge.read(BRANCH)[0] == WEB.replace("1.0.0", "1.3.0").replace("replicas: 1", "replicas: 3")


async def test_a_race_with_a_reviewer_is_run_again_on_the_new_tip(
    forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reviewer's commit arrives between our look at the branch and our push to it."""
    await forge.propose(Image("1.1.0"))
    reviews, push = [], proposing.push

    async def slow(*arguments: Any, **named: Any) -> None:
        if not reviews:
            reviews.append(forge.write(BRANCH, "apps/notes.md", "by a reviewer\n"))
        await push(*arguments, **named)

    monkeypatch.setattr(proposing, "push", slow)
    made = await forge.propose(Image("1.2.0"))
    assert [one["sha"] for one in forge.commits(BRANCH)[:2]] == [made.commit, reviews[0]]


async def test_a_branch_that_leaves_no_place_for_ours_is_a_clear_error(forge: Forge) -> None:
    forge.gitea.api("POST", f"{forge.path}/branches", {"new_branch_name": "promote", "old_ref_name": "main"})
    with pytest.raises(RefusedPushError, match="'refs/heads/promote' exists"):
        await forge.propose(Image("1.1.0"))


async def test_what_the_document_says_is_what_is_committed(forge: Forge) -> None:
    commit = Commit("Robo", "robo@shop.example", "chore: {{name}} to {{tag}}\n")
    made = await forge.propose(Image("1.1.0", DIGEST), pin="digest", commit=commit, edit=Edit(files=("w*.yaml",)))
    assert f"{IMAGE}:1.1.0@{DIGEST}  # the shop" in forge.read(BRANCH)[0]
    said = forge.commits(BRANCH)[0]["commit"]
    assert (said["author"]["name"], said["committer"]["email"]) == ("Robo", "robo@shop.example")
    assert said["message"] == f"chore: web to 1.1.0\n\nWindlass-Promotion: web\nWindlass-Image: 1.1.0@{DIGEST}\n"
    assert made.previous == "1.0.0"


async def test_a_protected_branch_is_a_clear_error(forge: Forge) -> None:
    forge.gitea.api("POST", f"{forge.path}/branch_protections", {"rule_name": "main", "enable_push": False})
    with pytest.raises(RefusedPushError, match=r"(?i)protected branch"):
        await forge.propose(Image("1.1.0"), branch="main")
    assert (await forge.propose(Image("1.1.0"))).outcome == "created"


async def test_a_signed_commit_passes_the_repositorys_own_policy(
    forge: Forge, proposer: Proposer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with signers() as make:
        person = make.ssh("windlass")
        monkeypatch.setenv("SIGNING_KEY", private(person).decode())
        signing = Signing("ssh", SecretRef(env="SIGNING_KEY"))
        made = await forge.propose(Image("1.1.0"), commit=Commit(signing=signing))
        document = Repository(
            forge.repository.name,
            RepositorySpec(
                forge.repository.spec.url,
                credentials=forge.repository.spec.credentials,
                signed_commits=SignedCommits((SigningKey(kind="ssh", key=person.public),)),
            ),
        )
    secrets = Secrets()
    repositories = Repositories(tmp_path / "verifier", secrets)
    try:
        repository = await repositories.get(document)
        await repository.fetch(f"refs/heads/{BRANCH}", made.commit, name="x")
        await require_signed(repository, document, secrets, source="x", ref=f"refs/heads/{BRANCH}",
                             commit=made.commit, applied="")  # fmt: skip
    finally:
        await repositories.close()
