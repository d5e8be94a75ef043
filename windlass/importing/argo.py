"""Argo CD's Applications, as Windlass' Applications.

Source: Argo CD's operator manual, `application.yaml`, and the types of `argoproj.io/v1alpha1`.
"""

from __future__ import annotations

from windlass.documents.types import Application, ApplicationSpec, Destination, Source, Sync
from windlass.importing import argo_sources as sources
from windlass.importing.argo_projects import Project, project
from windlass.importing.argo_sync import sync
from windlass.importing.given import Fields, Given, Report
from windlass.importing.target import IN_CLUSTER_SERVER, Documents, label
from windlass.importing.trees import Trees, ref_of

GROUP = "argoproj.io"
_ANNOTATIONS = "argocd.argoproj.io/"
_LOST_ANNOTATIONS = {
    "argocd.argoproj.io/sync-wave": "an order of applications is said with sync.dependsOn",
    "argocd.argoproj.io/manifest-generate-paths": "",
    "argocd.argoproj.io/refresh": "",
}
_UNLIMITED = Project("", None, ("*",), ())


class ArgoCD:
    """An installation's objects, one after the other; projects must come first."""

    def __init__(self, documents: Documents, report: Report, trees: Trees, home: sources.Git | None) -> None:
        self._documents, self._report, self._trees, self._home = documents, report, trees, home
        self._projects: dict[str, Project] = {}

    def project(self, given: Given) -> None:
        """Take in an AppProject, for the applications that name it."""
        self._projects[given.name] = project(given, self._report, self._documents)

    def application(self, given: Given) -> None:
        """Take in an Application; if it has no source that can be imported, that is said."""
        self._metadata(given)
        spec = Fields(self._report, given, given.body.get("spec"), ("spec",))
        spec.lost("revisionHistoryLimit", "how many revisions are kept is a setting of Windlass' workers")
        spec.note("info", "Windlass shows no links of its own")
        if spec.lost("sourceHydrator", "Windlass does not write rendered manifests to Git"):
            return
        name = self._documents.name(Application, given.name, f"{given.namespace}-{given.name}")
        owner = self._project(spec)
        found = self._sources(spec, given, owner, None if label(given.name) == name else given.name)
        destination = self._destination(spec, owner)
        policy = sync(spec.below("syncPolicy"), spec.items("ignoreDifferences"))
        spec.rest()
        if not found:
            self._report.lost(given, (), "not imported: none of its sources can be")
            return
        self._documents.application(name, ApplicationSpec(tuple(found), destination, Sync(**policy._asdict())))

    def _metadata(self, given: Given) -> None:
        annotations = given.metadata.get("annotations")
        for key in annotations if isinstance(annotations, dict) else ():
            why = _LOST_ANNOTATIONS.get(key, "only Argo CD reads it")
            if key.startswith((_ANNOTATIONS, "notifications.argoproj.io/")) and why:
                self._report.lost(given, ("metadata", "annotations", key), why)
        if given.metadata.get("finalizers"):
            why = "a document that goes deletes nothing: `windlass delete` does"
            self._report.note(given, ("metadata", "finalizers"), why)

    def _project(self, spec: Fields) -> Project:
        name = spec.text("project") or "default"
        if name not in self._projects and name != "default":
            spec.wrong(
                "the AppProject is not here, so its limits are not known: nothing limits the application", "project"
            )
        return self._projects.get(name, _UNLIMITED)

    # -- sources ----------------------------------------------------------------------------------------------------

    def _sources(self, spec: Fields, given: Given, owner: Project, release: str | None) -> list[Source]:
        """Windlass' sources; ``release`` is the name of a Helm release where it isn't the document's."""
        said = spec.items("sources") or [spec.below("source")]
        spec.same("source")
        gits = [self._git(one, owner) for one in said]
        named = {name: git for one, git in zip(said, gits, strict=True) if (name := one.text("ref")) and git}
        own = next((git for git in gits if git is not None), None)
        refs, found = sources.Refs(named, own or self._home), []
        for one, git in zip(said, gits, strict=True):
            one.same("name")
            if not self._allowed(one, owner) or one.lost("plugin", "Windlass runs no plugins"):
                continue
            if "chart" in one:
                found += sources.chart(one, refs, release or given.name)
            elif git is not None and ("path" in one or "ref" not in one):
                found += sources.folder(one, git, refs, release)
        return found

    def _allowed(self, source: Fields, owner: Project) -> bool:
        if owner.refuses(source.text("repoURL") or ""):
            source.wrong(f"the project {owner.name[:60]} does not allow this repository", "repoURL")
            return False
        return True

    def _git(self, source: Fields, owner: Project) -> sources.Git | None:
        """The Git repository of a source; None: it has none."""
        url, revision = source.text("repoURL"), source.text("targetRevision") or ""
        if "chart" in source or url is None:
            return None
        if url.startswith("oci://"):
            source.wrong("manifests in an OCI repository: Windlass follows Git", "repoURL")
            return None
        tree = self._trees.tree(url, revision)
        ref = ref_of(revision, tree)
        if ref.assumed:
            source.wrong(ref.assumed, "targetRevision")
        name = self._documents.repository(url, project=owner.name, limits=owner.limits)
        return sources.Git(ref.of(name), tree)

    # -- destination ------------------------------------------------------------------------------------------------

    def _destination(self, spec: Fields, owner: Project) -> Destination:
        said = spec.below("destination")
        server, name = said.text("server") or "", said.text("name") or ""
        namespace = said.text("namespace")
        cluster = self._documents.cluster(name, server)
        account = owner.account(server or IN_CLUSTER_SERVER, namespace or "")
        return Destination(cluster, namespace, account)
