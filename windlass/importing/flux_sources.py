"""Flux's sources: GitRepository, HelmRepository, OCIRepository. What each is read for, and what of it is lost.

Source: Flux's API reference of `source.toolkit.fluxcd.io/v1`.
"""

from __future__ import annotations

from typing import NamedTuple

from windlass.documents.rendering import ChartSource
from windlass.importing.argo_sources import Git, chart_source
from windlass.importing.given import Fields, Given, Report
from windlass.importing.target import Documents
from windlass.importing.trees import Ref, Trees

_POLLED = "Windlass follows webhooks; how often it looks by itself is a setting of the workers"


class Key(NamedTuple):
    """Which of Flux's objects is meant."""

    kind: str
    namespace: str
    name: str


class Sources:
    """All sources of an import, asked for by those that refer to them."""

    def __init__(self, given: list[Given], report: Report, documents: Documents, trees: Trees) -> None:
        self._given = {Key(one.kind, one.namespace, one.name): one for one in given}
        self._report, self._documents, self._trees = report, documents, trees
        self._gits: dict[Key, Git | None] = {}

    def reference(self, ref: Fields, namespace: str) -> Key:
        """What a `sourceRef`, or a `chartRef`, names."""
        ref.same("apiVersion")
        return Key(ref.text("kind") or "", ref.text("namespace") or namespace, ref.text("name") or "")

    def git(self, key: Key) -> Git | None:
        """The GitRepository of this name; None: it isn't here, or can't be imported."""
        if key not in self._gits:
            given = self._given.get(key) if key.kind == "GitRepository" else None
            self._gits[key] = self._git(given) if given is not None else None
        return self._gits[key]

    def gits(self) -> list[Git]:
        """All Git repositories, for a chart that needs one to stand in."""
        found = (self.git(key) for key in sorted(self._given) if key.kind == "GitRepository")
        return [git for git in found if git is not None]

    def _git(self, given: Given) -> Git | None:
        spec = Fields(self._report, given, given.body.get("spec"), ("spec",))
        spec.same("interval", "timeout", "gitImplementation", "sparseCheckout")
        for field, why in (
            ("ignore", "every file below a followed path counts"),
            ("include", "other repositories are not copied into one: make each a source"),
            ("recurseSubmodules", "submodules are never fetched"),
            ("verify", "put the public keys into the Repository's signedCommits: no Secret is read here"),
            ("proxySecretRef", "Windlass takes its proxy from its environment"),
            ("suspend", "a repository is not suspended: set sync.automatic of its applications"),
            ("provider", "Windlass has no cloud identities for Git: use a token"),
        ):
            spec.lost(field, why)
        ref, secret = _ref(spec), spec.below("secretRef").text("name") or ""
        url = spec.text("url") or ""
        if secret:
            where = f"expected as files below /etc/windlass/secrets/{secret}: mount the Secret there, or say otherwise"
            self._report.note(given, ("spec", "secretRef"), where)
        name = self._documents.repository(url, secret=secret)
        spec.rest()
        return Git(ref.of(name), self._trees.tree(url, ref.value)) if ref is not None else None

    # -- charts -----------------------------------------------------------------------------------------------------

    def chart(self, key: Key, name: str, version: str) -> ChartSource | None:
        """A chart of a HelmRepository; None: that isn't here."""
        given = self._given.get(key) if key.kind == "HelmRepository" else None
        if given is None:
            return None
        spec = Fields(self._report, given, given.body.get("spec"), ("spec",))
        spec.same("interval", "timeout", "type")
        self._credentials(spec)
        address = spec.text("url") or ""
        spec.rest()
        return chart_source(address, name, version)

    def packaged(self, key: Key) -> ChartSource | None:
        """The chart that an OCIRepository is; None: it isn't here, or isn't one pinned version."""
        given = self._given.get(key) if key.kind == "OCIRepository" else None
        if given is None:
            return None
        spec = Fields(self._report, given, given.body.get("spec"), ("spec",))
        spec.same("interval", "timeout", "layerSelector")
        self._credentials(spec)
        ref = spec.below("ref")
        ref.lost("digest", "a chart is named by its version")
        for field in ("semver", "semverFilter"):
            ref.lost(field, "a range of versions would change without a commit: pin one")
        address, tag = (spec.text("url") or "").rstrip("/"), ref.text("tag") or ""
        spec.rest()
        folder, _, name = address.removeprefix("oci://").rpartition("/")
        return ChartSource(f"oci://{folder}", name, tag)

    def _credentials(self, spec: Fields) -> None:
        for field in (
            "secretRef",
            "certSecretRef",
            "passCredentials",
            "serviceAccountName",
            "insecure",
            "proxySecretRef",
        ):
            spec.lost(field, "Windlass pulls charts without credentials, over TLS: WINDLASS_CHARTS says from where")
        spec.lost("verify", "signatures of charts are not verified")
        spec.lost("suspend", "a repository of charts is not suspended")
        if spec.text("provider") not in (None, "generic"):
            spec.lost("provider", "Windlass has no cloud identities for charts")


def _ref(spec: Fields) -> Ref | None:
    """What is followed: Flux takes commit before name, semver, tag and branch; master without any."""
    said = spec.below("ref")
    branch, commit, semver, tag, name = (said.text(field) for field in ("branch", "commit", "semver", "tag", "name"))
    said.lost("semverFilter", "all tags that are versions are looked at")
    if commit is not None:
        return Ref("commit", commit)
    if name is not None:
        for prefix, field in (("refs/heads/", "branch"), ("refs/tags/", "tag")):
            if name.startswith(prefix):
                return Ref(field, name.removeprefix(prefix))
        said.lost("name", "not imported: only refs/heads/ and refs/tags/ are followed")
        return None
    if semver is not None:
        return Ref("semver", semver)
    return Ref("tag", tag) if tag is not None else Ref("branch", branch or "master")
