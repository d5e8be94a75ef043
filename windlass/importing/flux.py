"""Flux's Kustomizations and HelmReleases, as Windlass' Applications.

Where something that decides what is applied can't be imported (postBuild, valuesFrom), the application is imported with
`sync.automatic: false`, so that nobody's half of it is applied. Sources: Flux's API references of
`kustomize.toolkit.fluxcd.io/v1` and `helm.toolkit.fluxcd.io/v2`.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from windlass.documents.base import SecretRef
from windlass.documents.health import HealthRule
from windlass.documents.ignoring import IgnoreRule
from windlass.documents.ordering import Dependency, seconds
from windlass.documents.rendering import HelmOptions, KustomizeOptions, SopsOptions
from windlass.documents.types import Application, ApplicationSpec, Destination, Source, Sync
from windlass.importing import overlays
from windlass.importing.argo_sources import Git
from windlass.importing.flux_sources import Key, Sources
from windlass.importing.given import Fields, Given, Report
from windlass.importing.target import SECRETS, Documents, label
from windlass.importing.trees import below, folder_of

KUSTOMIZE, HELM, SOURCE = "kustomize.toolkit.fluxcd.io", "helm.toolkit.fluxcd.io", "source.toolkit.fluxcd.io"
HELD = "so the application waits for `windlass sync` (sync.automatic: false)"
_NO_KUSTOMIZATION = (
    "Flux makes a kustomization where the folder has none; Windlass wants one there, to lay something over it"
)


class Flux:
    """An installation's objects, one after the other."""

    def __init__(
        self, given: list[Given], documents: Documents, report: Report, sources: Sources, home: Git | None
    ) -> None:
        self._documents, self._report, self._sources, self._home = documents, report, sources, home
        reconciled = [
            one for one in given if (one.group, one.kind) in ((KUSTOMIZE, "Kustomization"), (HELM, "HelmRelease"))
        ]
        self._given = {Key(one.kind, one.namespace, one.name): one for one in reconciled}
        self._names = {key: self._name(key) for key in self._given}

    def _name(self, key: Key) -> str:
        short = "release" if key.kind == "HelmRelease" else "kustomization"
        named = (key.name, f"{key.namespace}-{key.name}", f"{key.namespace}-{key.name}-{short}")
        return self._documents.name(Application, *named)

    # -- Kustomization ----------------------------------------------------------------------------------------------

    def kustomization(self, given: Given) -> None:
        """Take in a Kustomization; that it can't be imported is said."""
        spec = Fields(self._report, given, given.body.get("spec"), ("spec",))
        spec.same("interval", "retryInterval", "wait", "deletionPolicy")
        held = spec.lost("postBuild", f"variables are not put into manifests, {HELD}")
        spec.lost("ignoreMissingComponents", "a component that is missing is an error")
        spec.same("healthChecks")  # every object's health counts
        key = self._sources.reference(spec.below("sourceRef"), given.namespace)
        git = self._sources.git(key)
        options = _overlay(spec)
        path = folder_of(spec.text("path") or "")
        if git is not None and options is not None:
            self._kustomized(spec, git, path)
        destination, sync = self._destination(spec, given), self._sync(spec, given, held)
        health = tuple(_health(one) for one in spec.items("healthCheckExprs"))
        sops = _sops(spec.below("decryption"))
        replace = bool(spec.flag("force"))
        prune = bool(spec.flag("prune"))
        spec.rest()
        if git is None:
            self._report.lost(given, ("spec", "sourceRef"), f"not imported: {_no_source(key)}")
            return
        source = msgspec.structs.replace(git.source, path=path, kustomize=options, sops=sops)
        sync = msgspec.structs.replace(sync, prune=prune, replace=replace)
        self._add(given, source, destination, sync, health)

    def _kustomized(self, spec: Fields, git: Git, path: str) -> None:
        """Say that Windlass needs a kustomization, unless there is one."""
        names = [below(path, name) for name in ("kustomization.yaml", "kustomization.yml", "Kustomization")]
        if git.tree is None:
            self._report.note(
                spec.given, ("spec", "path"), f"{_NO_KUSTOMIZATION}: whether it has one is not known here"
            )
        elif not any(name in git.tree.files for name in names):
            spec.wrong(f"{_NO_KUSTOMIZATION}: add one", "path")

    # -- HelmRelease ------------------------------------------------------------------------------------------------

    def release(self, given: Given) -> None:
        """Take in a HelmRelease; that it can't be imported is said."""
        spec = Fields(self._report, given, given.body.get("spec"), ("spec",))
        spec.same("interval", "maxHistory", "storageNamespace", "persistentClient", "waitStrategy", "test")
        for field in ("rollback", "uninstall"):
            spec.note(
                field, "Windlass keeps rendered sets, not Helm releases: see `windlass rollback` and `windlass delete`"
            )
        held = spec.lost("valuesFrom", f"values in ConfigMaps and Secrets are not read, {HELD}")
        held = spec.lost("postRenderers", f"Windlass lays nothing over a chart, {HELD}") or held
        spec.lost("commonMetadata", "Windlass lays nothing over a chart")
        namespace = spec.text("targetNamespace")
        named = f"{namespace}-{given.name}" if namespace else given.name
        options = HelmOptions(
            release=spec.text("releaseName") or named,
            values=spec.mapping("values"),
            skip_crds=_crds_skipped(spec),
            skip_hooks=bool(spec.below("install").flag("disableHooks")),
        )
        source = self._chart(spec, given, options)
        destination, sync = self._destination(spec, given, given.namespace), self._sync(spec, given, held)
        sync = msgspec.structs.replace(sync, **_drift(spec.below("driftDetection")))
        health = tuple(_health(one) for one in spec.items("healthCheckExprs"))
        spec.rest()
        if source is None:
            self._report.lost(given, (), "not imported: its chart can't be")
            return
        self._add(given, source, destination, sync, health)

    def _chart(self, spec: Fields, given: Given, options: HelmOptions) -> Source | None:
        if "chartRef" in spec:
            spec.same("chart")
            key = self._sources.reference(spec.below("chartRef"), given.namespace)
            found = self._sources.packaged(key)
            return self._elsewhere(spec, key, options, found)
        said = spec.below("chart").below("spec")
        spec.below("chart").same("metadata")
        said.same("interval", "reconcileStrategy")
        said.lost("verify", "signatures of charts are not verified")
        said.lost("ignoreMissingValuesFiles", "a values file that is missing is an error")
        name, version = said.text("chart") or "", said.text("version") or ""
        key = self._sources.reference(said.below("sourceRef"), given.namespace)
        files = said.texts("valuesFiles")
        git = self._sources.git(key)
        if git is not None:
            paths = tuple(f"/{path.removeprefix('./').lstrip('/')}" for path in files)
            if files:
                said.report.note(
                    given, (*said.path, "valuesFiles"), "the chart's own values.yaml counts, too, below them"
                )
            helm = msgspec.structs.replace(options, values_files=paths)
            return msgspec.structs.replace(git.source, path=folder_of(name), helm=helm)
        if files:
            said.wrong("files in the chart's own archive: only files of Git repositories are read", "valuesFiles")
        return self._elsewhere(spec, key, options, self._sources.chart(key, name, version))

    def _elsewhere(self, spec: Fields, key: Key, options: HelmOptions, chart: object) -> Source | None:
        if chart is None:
            spec.wrong(_no_source(key), "chartRef" if "chartRef" in spec else "chart")
            return None
        if self._home is None:
            spec.wrong("a chart stands in a Git repository's source: name one with --repository", "chart")
            return None
        return msgspec.structs.replace(self._home.source, helm=msgspec.structs.replace(options, chart=chart))

    # -- what both have ---------------------------------------------------------------------------------------------

    def _destination(self, spec: Fields, given: Given, namespace: str = "") -> Destination:
        """Where to: the cluster that Flux is in, or one of a kubeconfig in a Secret, which has no other name."""
        kubeconfig = spec.below("kubeConfig")
        secret = kubeconfig.below("secretRef")
        secret.same("key")
        kubeconfig.lost("configMapRef", "Windlass has no cloud identities for clusters: give the Cluster a kubeconfig")
        remote = secret.text("name") or kubeconfig.below("configMapRef").text("name") or ""
        cluster = self._documents.cluster(label(remote)) if remote else self._documents.cluster("")
        if remote:
            self._report.note(given, ("spec", "kubeConfig"), f"the Cluster {cluster}: see where its kubeconfig is")
        account = spec.text("serviceAccountName")
        target = spec.text("targetNamespace") or namespace or None
        return Destination(cluster, target, f"{given.namespace}:{account}" if account and given.namespace else account)

    def _sync(self, spec: Fields, given: Given, held: bool) -> Sync:
        suspended = bool(spec.flag("suspend"))
        if suspended:
            self._report.note(given, ("spec", "suspend"), "imported as sync.automatic: false")
        timeout = spec.text("timeout")
        if timeout is not None and seconds(timeout) is None:
            spec.lost("timeout", "expected a duration such as 90s, 5m or 1h30m")
            timeout = None
        waits = tuple(self._dependencies(spec, given))
        return Sync(automatic=not (suspended or held), depends_on=waits, timeout=timeout)

    def _dependencies(self, spec: Fields, given: Given) -> Iterable[str | Dependency]:
        """Flux's dependencies are objects of the same kind; ready is applied, unless the other waits for health."""
        for one in spec.items("dependsOn"):
            one.lost("readyExpr", "a dependency is healthy, or applied")
            key = Key(given.kind, one.text("namespace") or given.namespace, one.text("name") or "")
            name, other = self._names.get(key), self._given.get(key)
            if name is None or other is None:
                one.wrong(f"there is no {key.kind} {key.name[:60]} here: the application does not wait for it", "name")
                continue
            body = other.body.get("spec")
            asked = body if isinstance(body, dict) else {}
            healthy = key.kind == "HelmRelease" or bool(asked.get("wait") or asked.get("healthChecks"))
            yield name if healthy else Dependency(name, "applied")

    def _add(
        self, given: Given, source: Source, destination: Destination, sync: Sync, health: tuple[HealthRule, ...]
    ) -> None:
        name = self._names[Key(given.kind, given.namespace, given.name)]
        self._documents.application(name, ApplicationSpec((source,), destination, sync, None, health))


def _overlay(spec: Fields) -> KustomizeOptions | None:
    common = spec.below("commonMetadata")
    spec.lost("patchesJson6902", "an older way to say patches: write them as patches")
    options = KustomizeOptions(
        namespace=spec.text("targetNamespace"),
        name_prefix=spec.text("namePrefix"),
        name_suffix=spec.text("nameSuffix"),
        images=overlays.images(spec.items("images")),
        components=spec.texts("components"),
        patches=overlays.patches(spec.items("patches"))
        + overlays.strategic(spec.values("patchesStrategicMerge"))
        + overlays.metadata(common.strings("labels"), common.strings("annotations")),
    )
    return None if options.empty else options


def _sops(decryption: Fields) -> SopsOptions | None:
    """Flux reads the keys of a Secret; which kinds of keys it has is not known here, so age is taken."""
    provider, secret = decryption.text("provider"), decryption.below("secretRef").text("name")
    decryption.lost("serviceAccountName", "the workers' own identity decrypts")
    if provider is None:
        return None
    if provider != "sops":
        decryption.wrong(f"not imported: there is no {provider[:60]}", "provider")
        return None
    if secret is None:
        decryption.wrong("which cloud's keys decrypt is not said here: name them in sops.cloud", "secretRef")
        return None
    file = f"{SECRETS}/{label(secret)}/age.agekey"
    decryption.note("secretRef", f"an age identity is expected in {file}; PGP keys go into sops.pgp")
    return SopsOptions(age=(SecretRef(file=file),))


def _health(said: Fields) -> HealthRule:
    version = said.text("apiVersion") or ""
    return HealthRule(
        kind=said.text("kind") or "",
        group=version.partition("/")[0] if "/" in version else "",
        current=said.text("current"),
        failed=said.text("failed"),
        in_progress=said.text("inProgress"),
    )


def _crds_skipped(spec: Fields) -> bool:
    install, upgrade = spec.below("install"), spec.below("upgrade")
    crds = install.text("crds")
    upgrade.same("crds")
    for part in (install, upgrade):
        part.same("remediation", "timeout", "disableWait", "disableWaitForJobs", "disableOpenAPIValidation", "replace")
        part.same("disableHooks", "cleanupOnFail", "preserveValues", "skipCRDs", "serverSideApply", "strategy")
        part.lost("createNamespace", "Windlass does not make namespaces by itself: add a Namespace to the manifests")
        part.lost("disableSchemaValidation", "a chart's schema always counts")
        part.lost("disableTakeOwnership", "fields that others own are asked for by sync.force only")
        part.lost("force", "see sync.replace")
    return crds == "Skip" or bool(install.flag("skipCRDs"))


def _drift(detection: Fields) -> dict[str, object]:
    """Flux does nothing about a release's drift unless it is told; Windlass does as it is told."""
    mode = detection.text("mode")
    rules = []
    for one in detection.items("ignore"):
        target, pointers = one.below("target"), one.texts("paths")
        for field in ("labelSelector", "annotationSelector"):
            target.lost(field, "objects are chosen by kind, group, name and namespace")
        target.same("version")
        kind, group, name, namespace = (
            _pattern(target.text(field)) for field in ("kind", "group", "name", "namespace")
        )
        if pointers and "" not in pointers:
            rules.append(IgnoreRule(kind or "*", group, name, namespace, pointers))
        else:
            one.wrong("whole objects are not ignored: name fields of them", "paths")
    return {"self_heal": mode == "enabled", "ignore": tuple(rules)}


def _pattern(expression: str | None) -> str | None:
    """Flux selects by regular expressions; `.*` is what they are most often made of."""
    return None if expression is None else expression.removeprefix("^").removesuffix("$").replace(".*", "*")


def _no_source(key: Key) -> str:
    if key.kind == "GitRepository":
        return f"the GitRepository {key.namespace}/{key.name} is not here, or can't be imported"
    if key.kind in ("HelmRepository", "OCIRepository"):
        return f"the {key.kind} {key.namespace}/{key.name} is not here, or can't be imported"
    return f"Windlass has no source such as a {key.kind[:60] or 'nothing'}"
