"""Both pipelines of the demo: one commit of the application's code, delivered by pull request, and pushed to a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from examples.story import Story, Way, beside
from tests.parts.cluster import Cluster
from tests.parts.git import WorkTree
from tests.parts.gitea import ADMIN, Gitea
from tests.parts.registry import Registry
from tests.parts.windlass import API_VERSION, Windlass, application

CODE, MANIFESTS = "shop-code", "shop"
PUSHED = "shop-staging"
VERSION = "1.1.0"
DOCKERFILE = 'FROM scratch\nCOPY site /site\nLABEL shop.example/part=web\nENTRYPOINT ["/site/serve"]\n'


def documents(registry: Registry, cluster: str) -> list[dict[str, object]]:
    """What the two ways need beside the repository and the application that follows it."""
    return [
        _document(
            "Registry", "ci", {"type": "ci", "images": [f"{registry.host}/shop/*"], "secrets": [{"env": "CI_TOKEN"}]}
        ),
        _document(
            "Promotion",
            "web",
            {
                "image": f"{registry.host}/shop/web",
                "policy": {"order": "semver", "range": ">=1.0.0"},
                "target": {"repository": MANIFESTS, "branch": "main", "path": "manifests"},
                "pullRequest": {"title": "web {{tag}}", "labels": []},
            },
        ),
        application(
            PUSHED, repository=MANIFESTS, path="staging", cluster=cluster, namespace=PUSHED, sync={"automatic": False}
        ),
    ]


def staging(web: str) -> dict[str, str]:
    """The manifests of the application that is pushed to: Git has it at the old version, and may keep it."""
    return {
        "staging/namespace.yaml": f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {PUSHED}\n",
        "staging/web.yaml": web,
    }


def _document(kind: str, name: str, spec: dict[str, Any]) -> dict[str, object]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


class Pipelines:
    """The application's code, and the two commands that deliver it."""

    def __init__(
        self, story: Story, folder: Path, plane: Cluster, forge: Gitea, registry: Registry, windlass: Windlass
    ) -> None:
        self._story, self._plane, self._forge, self._registry = story, plane, forge, registry
        self._windlass = windlass
        self._code = WorkTree(folder / CODE, forge.create_repository(CODE).push_url)
        self._image = f"{registry.host}/shop/web"

    def tell(self, manifests: WorkTree) -> None:
        self._story.step(f"2. GitOps: a commit to the application's code; `windlass ship --gitops --tag {VERSION}`")
        commit = self._code.commit(
            {"Dockerfile": DOCKERFILE, "site/index.html": "<h1>Ahoy</h1>\n", "site/serve": "…\n"}, "Ahoy"
        )
        self._code.push()
        gitops = Way("GitOps")
        self._by_pull_request(gitops, manifests)
        self._story.step(f"3. DevOps: the same commit; `windlass ship --push --application {PUSHED}`")
        push = Way("push")
        self._by_push(push)
        self._story.step(f"Both ways of {CODE} {commit[:10]}, beside each other")
        for line in beside([gitops, push]):
            self._story.say(f"  {line}")

    def _ship(self, way: Way, *more: str) -> bool:
        """The command, as CI runs it; what it says tells when each of its steps is done."""
        wished = ("--image", self._image, "--path", str(self._code.path), "--tag", VERSION, "--insecure")
        built, said = "image built and published", list[str]()
        with self._windlass.begin("ship", *wished, *more) as running:
            assert running.stdout is not None
            for line in map(str.rstrip, running.stdout):
                said.append(line)
                if line.startswith("published "):
                    way.done(built)
                if line.startswith("… ") and "applied" not in way.seconds:
                    way.done("applied")
                if built in way.seconds and not line.startswith(("+", "-", "@", " ")):  # builders and plans say much
                    self._story.say(f"  {line}")
        if running.returncode:
            self._story.say("\n".join(said))
        return running.returncode == 0

    def _by_pull_request(self, way: Way, manifests: WorkTree) -> None:
        story, forge = self._story, self._forge
        story.check("built, published, announced", self._ship(way, "--gitops"))
        story.until(lambda: bool(self._pulls()))
        way.done("pull request open")
        if not self._pulls():
            story.check("a pull request names the image", False)
            return
        pull = self._pulls()[0]
        story.check(
            f"pull request #{pull['number']}: {pull['title']}  ({pull['html_url']})", pull["title"] == f"web {VERSION}"
        )
        for line in self._changed(pull["number"]):
            story.say(f"      {line}")
        self._plan(pull["number"])
        branch = pull["head"]["ref"]
        manifests.git("fetch", "-q", "origin", branch)
        manifests.git("checkout", "-q", "-B", "review", "FETCH_HEAD")
        web = (manifests.path / "manifests/web.yaml").read_text()
        manifests.commit({"manifests/web.yaml": web.replace("cpu: 50m", "cpu: 60m")}, "A suggestion: a little more CPU")
        manifests.git("push", "-q", "origin", f"HEAD:{branch}")
        story.say("  a reviewer pushes a suggestion to its branch, and merges")
        forge.merge(MANIFESTS, pull["number"])
        way.done("review: a suggestion, the merge")
        story.until(lambda: self._running(MANIFESTS) == f"{self._image}:{VERSION}")
        way.done("applied")
        story.until(lambda: self._ready(MANIFESTS))
        way.done("pods ready")
        story.check(
            f"Deployment web runs {self._running(MANIFESTS)}", self._running(MANIFESTS) == f"{self._image}:{VERSION}"
        )
        asked = self._container(MANIFESTS).get("resources", {}).get("requests", {})
        story.check("with what the reviewer suggested", asked.get("cpu") == "60m")
        self._told(pull["number"])
        manifests.git("fetch", "-q", "origin", "main")
        manifests.git("checkout", "-q", "-B", "main", "FETCH_HEAD")

    def _by_push(self, way: Way) -> None:
        story = self._story
        story.check("built, published, applied, healthy", self._ship(way, "--push", "--application", PUSHED))
        way.done("pods ready")
        found = self._running(PUSHED)
        story.check(
            f"Deployment web of {PUSHED} runs {found[:60]}…", found.startswith(f"{self._image}:{VERSION}@sha256:")
        )
        refused = self._windlass.run("deploy", "--application", MANIFESTS, "--image", f"{self._image}:{VERSION}")
        story.check(f"{MANIFESTS} follows Git by itself: push mode is refused", refused.returncode == 1)

    def _pulls(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._forge.api("GET", f"/repos/{ADMIN}/{MANIFESTS}/pulls?state=open")
        return found

    def _comment(self, number: int, words: str) -> str:
        """What Windlass says on the pull request, once a comment has these words; "" if none comes to have them."""
        found: list[str] = []

        def said() -> bool:
            comments = self._forge.api("GET", f"/repos/{ADMIN}/{MANIFESTS}/issues/{number}/comments")
            found[:] = [comment["body"] for comment in comments if words in comment["body"]]
            return bool(found)

        self._story.until(said, 20)
        return found[0] if found else ""

    def _told(self, number: int) -> None:
        """After the merge: on the pull request, and on the commit."""
        said = self._comment(number, "healthy")
        story, tip = self._story, self._forge.api("GET", f"/repos/{ADMIN}/{MANIFESTS}/branches/main")["commit"]["id"]
        (line, *_) = [line for line in said.splitlines() if "healthy" in line] or [""]
        story.check(f"the pull request is told: {line.lstrip('-* ')}", bool(line))
        statuses: list[dict[str, Any]] = []

        def succeeded() -> bool:
            statuses[:] = self._forge.statuses(MANIFESTS, tip)
            return any(one["status"] == "success" for one in statuses)

        story.until(succeeded, 20)
        story.check(f"and the merge's commit: {statuses[0]['description'] if statuses else ''}", succeeded())

    def _plan(self, number: int) -> None:
        """Before anybody merges."""
        text = self._comment(number, "shop/web:1.1.0")
        self._story.check("its plan, by a dry run against the cluster, is a comment:", bool(text))
        for line in text.splitlines():
            if line.startswith(("+ ", "- ", "changed")):
                self._story.say(f"      {line}")

    def _changed(self, number: int) -> list[str]:
        files = self._forge.api("GET", f"/repos/{ADMIN}/{MANIFESTS}/pulls/{number}/files")
        return [f"{file['filename']}: {file['additions']} line added, {file['deletions']} removed" for file in files]

    def _deployment(self, namespace: str) -> dict[str, Any]:
        return self._plane.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/web") or {}

    def _container(self, namespace: str) -> dict[str, Any]:
        found: dict[str, Any] = (self._deployment(namespace) or {"spec": {"template": {"spec": {"containers": [{}]}}}})[
            "spec"
        ]
        container: dict[str, Any] = found["template"]["spec"]["containers"][0]
        return container

    def _running(self, namespace: str) -> str:
        return str(self._container(namespace).get("image", ""))

    def _ready(self, namespace: str) -> bool:
        found = self._deployment(namespace)
        status, wanted = found.get("status", {}), found.get("spec", {}).get("replicas")
        seen = status.get("observedGeneration") == found.get("metadata", {}).get("generation")
        return bool(
            seen and status.get("updatedReplicas") == status.get("readyReplicas") == status.get("replicas") == wanted
        )
